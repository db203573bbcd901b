"""Schedules as trio code sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from persistence.requests import Asked, Ping
from persistence.schedules.requests import (
    ClaimSchedules,
    SettleSchedules,
    to_cancel,
    to_move,
    to_set,
)
from persistence.schedules.rows import Claim, Settled
from persistence.settings import ScheduleSettings


class ScheduleStore:
    """Sets, moves and cancels schedules; and for their scheduler, claims and settles them.

    `worker` answers for a `ScheduleWorker`. All calls raise `StoreUnavailable` when PostgreSQL is
    away, and whatever the `ask` of the worker raises when `timeout_s` is over; then it is not known
    whether the call had an effect, and it may be made again.

    Arguments:
        earlier: called with the time, in microseconds, of each that is set or moved: whoever waits
            for what is due next may have to wake earlier.
    """

    def __init__(
        self,
        worker: Asked,
        settings: ScheduleSettings,
        earlier: Callable[[int], None] = lambda _: None,
        *,
        timeout_s: float = 10.0,
    ) -> None:
        self._worker = worker
        self._settings = settings
        self._earlier = earlier
        self._timeout_s = timeout_s

    async def set(
        self,
        kind: str,
        key: str,
        name: str,
        payload: bytes = b"",
        *,
        at_us: int | None = None,
        after_s: float | None = None,
    ) -> int:
        """Have (kind, key) told at a time, in place of what it had under this name.

        Arguments, result and errors are those of `TransactionSchedules.set`.
        """
        request = to_set(
            self._settings, kind, key, name, payload=payload, at_us=at_us, after_s=after_s
        )
        self._earlier(await self._worker.ask(request, timeout=self._timeout_s))
        return request.id

    async def move(
        self,
        kind: str,
        key: str,
        name: str,
        *,
        at_us: int | None = None,
        after_s: float | None = None,
    ) -> int | None:
        """Give a schedule another time; returns its new id, None if there is no such schedule.

        One that is being delivered at this moment still comes, with its old id, and comes again.
        """
        request = to_move(kind, key, name, at_us=at_us, after_s=after_s)
        due_us = await self._worker.ask(request, timeout=self._timeout_s)
        if due_us is None:
            return None
        self._earlier(due_us)
        return request.id

    async def cancel(self, kind: str, key: str, name: str, *, id: int | None = None) -> bool:  # noqa: A002
        """Take a schedule out; returns whether it was there.

        One that is being delivered at this moment still comes. With an `id`: only the one that
        has it.
        """
        request = to_cancel(kind, key, name, id)
        return cast("bool", await self._worker.ask(request, timeout=self._timeout_s))

    async def claim(self, room: int, claim_s: float) -> Claim:
        """Claim what is due, at most `room`: for so long nobody else does."""
        request = ClaimSchedules(room, round(claim_s * 1e6))
        return cast("Claim", await self._worker.ask(request, timeout=self._timeout_s))

    async def settle(self, settled: Sequence[Settled]) -> list[Settled]:
        """Say what became of claimed schedules; returns those that have to be told again, as
        somebody works on their rows.
        """
        request = SettleSchedules(settled)
        return cast("list[Settled]", await self._worker.ask(request, timeout=self._timeout_s))

    async def ping(self) -> None:
        """Return if schedules can be set and delivered now."""
        await self._worker.ask(Ping(), timeout=self._timeout_s)
