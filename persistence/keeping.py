"""Deleting old events, as trio code sees it."""

from __future__ import annotations

from typing import Any

from persistence.requests import Asked, DropEnded, TrimLogs


class Keeping:
    """Deletes what is to be kept no longer, step by step. `keeper` answers for an `EventKeeper`.

    What comes of each call may be awaited, and is a `Step`; or raises `StoreUnavailable`, or what
    the `ask` raises after `timeout_s`.
    """

    def __init__(self, keeper: Asked, *, timeout_s: float = 30.0) -> None:
        self._keeper = keeper
        self._timeout_s = timeout_s

    def trim_logs(
        self, kind: str, *, after: str, names: int, kept: int, before_us: int, most: int
    ) -> Any:
        """Delete the oldest events of the next `names` names; see `TrimLogs`."""
        request = TrimLogs(kind, after, names, kept, before_us, most)
        return self._keeper.ask(request, timeout=self._timeout_s)

    def drop_ended(
        self, kind: str, last_type: str, *, after: str, names: int, before_us: int
    ) -> Any:
        """Delete those that have ended; see `DropEnded`."""
        request = DropEnded(kind, last_type, after, names, before_us)
        return self._keeper.ask(request, timeout=self._timeout_s)
