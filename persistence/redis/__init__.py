"""Snapshots in Redis or Valkey: the thread that owns the connection."""

from persistence.redis.worker import SnapshotWorker, check

__all__ = ["SnapshotWorker", "check"]
