"""Redis or Valkey: the threads that own connections to it, for snapshots and counters."""

from persistence.redis.address import address_problem
from persistence.redis.lines import check_redis
from persistence.redis.worker import SnapshotWorker

__all__ = ["SnapshotWorker", "address_problem", "check_redis"]
