"""The interface to schedules for trio code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from persistence.requests import Asked, StoreCheck
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
    """Sets, moves and cancels schedules; for the scheduler, it also claims and settles them.

    All calls raise `StoreUnavailable` if PostgreSQL is away, and the error of the worker's `ask` if
    there is no answer within `timeout_s`. Then it is not known whether the call had an effect. It
    may be made again.

    Arguments:
        worker: the ref of a `ScheduleWorker`.
        settings: the limits of schedules.
        earlier: called with the due time of each schedule that is set or moved, in microseconds
            since 1970, UTC. The scheduler may have to wake earlier for it.
        timeout_s: how long a call may take, in seconds.
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
        """Set a schedule for the actor (kind, key), in place of one of the same name.

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
        """Give a schedule another time; returns its new id; None: there is no such schedule.

        A schedule that is being delivered right now comes with its old id, and then again.
        """
        request = to_move(kind, key, name, at_us=at_us, after_s=after_s)
        due_us = await self._worker.ask(request, timeout=self._timeout_s)
        if due_us is None:
            return None
        self._earlier(due_us)
        return request.id

    async def cancel(self, kind: str, key: str, name: str, *, id: int | None = None) -> bool:  # noqa: A002
        """Delete a schedule; returns whether it was there.

        A schedule that is being delivered right now still comes. With an `id`, only a schedule that
        has this id is deleted.
        """
        request = to_cancel(kind, key, name, id)
        return cast("bool", await self._worker.ask(request, timeout=self._timeout_s))

    async def claim(self, room: int, claim_s: float) -> Claim:
        """Claim at most `room` due schedules. Nobody else gets them for `claim_s` seconds."""
        request = ClaimSchedules(room, round(claim_s * 1e6))
        return cast("Claim", await self._worker.ask(request, timeout=self._timeout_s))

    async def settle(self, settled: Sequence[Settled]) -> list[Settled]:
        """Settle claimed schedules.

        Returns those that could not be settled yet, because another transaction has locked their
        rows. Settle them again.
        """
        request = SettleSchedules(settled)
        return cast("list[Settled]", await self._worker.ask(request, timeout=self._timeout_s))

    async def ping(self) -> None:
        """Return if schedules can be set and delivered now, else raise like all calls."""
        await self._worker.ask(StoreCheck(), timeout=self._timeout_s)
