"""The errors of the stores. Each text is one line that an operator can act on."""

# ruff: noqa: N818 - the names say what happened, as trio's own do
from __future__ import annotations

from pathlib import Path


class StoreError(Exception):
    """The base class of all errors of this package.

    `permanent` is true if the same call would always fail.
    """

    permanent = False


class StoreUnavailable(StoreError):
    """A store did not do what it was asked. The same call may succeed later.

    It is not known whether a write that failed like this took effect, so every write can be sent
    again.

    Attributes:
        store: "postgresql" or "redis".
        reason: one line.
    """

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(store, reason)
        self.store = store
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.store} is unavailable: {self.reason}"


class StoresDiffer(StoreUnavailable):
    """A Valkey or Redis and a PostgreSQL are not of one cluster. Nothing was changed."""

    def __str__(self) -> str:
        return (
            f"the stores are not of one cluster: {self.reason}; see [postgres] url and schema,"
            " [redis] url and prefix, which are the same for all nodes of a cluster, and no other's"
        )


class StoreInboxFull(StoreUnavailable):
    """A store's inbox is full. The call was not queued, so it had no effect."""


class RowRefused(StoreError):
    """A store can never hold this value, such as a key with a NUL character. A retry is useless."""

    permanent = True


class KeyReused(StoreError):
    """An idempotency key was used before with another command. A retry is useless."""

    permanent = True

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return f"the key {self.key!r} was used before with another command"


class CommandExpired(StoreError):
    """A command's deadline passed before it began. It has not acted."""


class QueryExpired(StoreError):
    """A query's deadline passed before it began."""


class TooManySchedules(StoreError):
    """A target has as many schedules as are allowed. The call had no effect."""

    def __init__(self, kind: str, key: str, most: int) -> None:
        super().__init__(kind, key, most)
        self.kind = kind
        self.key = key
        self.most = most

    def __str__(self) -> str:
        return f"{self.kind}/{self.key} has {self.most} schedules, and no more are allowed"


class MigrationDrift(StoreError):
    """The database does not fit the migration files. `file` is the first that it does not fit."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(file, reason)
        self.file = file
        self.reason = reason

    def __str__(self) -> str:
        return f"migration {self.file}: {self.reason}"


class DataDirLocked(StoreError):
    """Another process holds the data directory. `pid` is its process id, if that is known."""

    def __init__(self, path: Path, pid: int | None) -> None:
        super().__init__(path, pid)
        self.path = path
        self.pid = pid

    def __str__(self) -> str:
        holder = "another process" if self.pid is None else f"process {self.pid}"
        return f"data directory {self.path} is in use by {holder}"


class SchemaInUse(StoreError):
    """Another server uses the same schema. `holder` says which.

    `cluster`: one of the two is a server of a cluster, and the other one is alone.
    """

    def __init__(self, holder: str, *, cluster: bool = False) -> None:
        super().__init__(holder)
        self.holder = holder
        self.cluster = cluster

    def __str__(self) -> str:
        if self.cluster:
            return (
                f"{self.holder} works on the same schema, and only one of the two is a server of a"
                " cluster; set [server] cluster = true for both, or give each its own ([postgres]"
                " schema)"
            )
        return (
            f"another server works on the same schema: {self.holder}; give each its own"
            " ([postgres] schema), or see [server] alone"
        )


class Replaced(StoreError):
    """Another server took this one for dead, and uses its schema now."""

    def __init__(self) -> None:
        super().__init__("another server took this one for dead, and is in its place")


class EmbeddedStartFailed(StoreError):
    """An embedded server did not start. `log_tail` is the end of its log."""

    def __init__(self, server: str, reason: str, log_tail: str = "") -> None:
        super().__init__(server, reason, log_tail)
        self.server = server
        self.reason = reason
        self.log_tail = log_tail

    def __str__(self) -> str:
        told = f"; its log ends: {self.log_tail}" if self.log_tail else ""
        return f"embedded {self.server} did not start: {self.reason}{told}"
