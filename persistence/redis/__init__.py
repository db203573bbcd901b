"""Snapshots in Redis or Valkey: the thread that owns the connection."""

from persistence.redis.address import address_problem
from persistence.redis.connection import check
from persistence.redis.worker import SnapshotWorker

__all__ = ["SnapshotWorker", "address_problem", "check"]
