"""What the stores raise. Every message is one line that an operator can act on."""

# ruff: noqa: N818 - the names say what happened, as trio's own do; nothing here is a mere "error"
from __future__ import annotations

from pathlib import Path


class StoreError(Exception):
    """The base of everything that persistence raises on purpose.

    `permanent` says that the same call will fail again.
    """

    permanent = False


class StoreUnavailable(StoreError):
    """A store did not do what it was asked; the same call may succeed later.

    `store` names it ("postgresql" or "redis"), `reason` is one line. Whether a write that ended
    like this took effect is unknown, which is why every write may be sent again.
    """

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(store, reason)
        self.store = store
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.store} is unavailable: {self.reason}"


class StoreInboxFull(StoreUnavailable):
    """A store's inbox is full: the call was not queued, so it certainly had no effect."""


class RowRefused(StoreError):
    """A store can never hold this value, e.g. a key with a NUL character: a retry is useless."""

    permanent = True


class KeyReused(StoreError):
    """An idempotency key came before, with another command: a retry is useless."""

    permanent = True

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return f"the key {self.key!r} came before with another command"


class CommandExpired(StoreError):
    """A command's time was over before it began: it has not acted."""


class QueryExpired(StoreError):
    """A query's time was over before it began."""


class TooManySchedules(StoreError):
    """A target has as many schedules as it may; what was asked had no effect."""

    def __init__(self, kind: str, key: str, most: int) -> None:
        super().__init__(kind, key, most)
        self.kind = kind
        self.key = key
        self.most = most

    def __str__(self) -> str:
        return f"{self.kind}/{self.key} has {self.most} schedules, which is as many as it may"


class MigrationDrift(StoreError):
    """The database and the migration files disagree; `file` is the first one that does."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(file, reason)
        self.file = file
        self.reason = reason

    def __str__(self) -> str:
        return f"migration {self.file}: {self.reason}"


class DataDirLocked(StoreError):
    """Another process holds the data directory; `pid` is the one that says so, if it is known."""

    def __init__(self, path: Path, pid: int | None) -> None:
        super().__init__(path, pid)
        self.path = path
        self.pid = pid

    def __str__(self) -> str:
        holder = "another process" if self.pid is None else f"process {self.pid}"
        return f"data directory {self.path} is in use by {holder}"


class SchemaInUse(StoreError):
    """Another server works on the same schema; `holder` says which."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder

    def __str__(self) -> str:
        return (
            f"another server works on the same schema: {self.holder}; give each its own"
            " ([postgres] schema), or see [server] alone"
        )


class Replaced(StoreError):
    """Another server took this one for dead, and works on its schema now."""

    def __init__(self) -> None:
        super().__init__("another server took this one for dead, and is in its place")


class EmbeddedStartFailed(StoreError):
    """An embedded server did not start; `log_tail` is the end of what it had to say."""

    def __init__(self, server: str, reason: str, log_tail: str = "") -> None:
        super().__init__(server, reason, log_tail)
        self.server = server
        self.reason = reason
        self.log_tail = log_tail

    def __str__(self) -> str:
        told = f"; it said: {self.log_tail}" if self.log_tail else ""
        return f"embedded {self.server} did not start: {self.reason}{told}"
