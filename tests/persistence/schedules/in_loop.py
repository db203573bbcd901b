"""A worker of schedules on the real PostgreSQL, whose clock a test moves.

It answers in the thread of the one who asks, since a loop on trio's MockClock does not wait for
other threads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from persistence import PostgresSettings, ScheduleSettings, StoreUnavailable
from persistence.schedules import ScheduleWorker

START_US = 1_700_000_000_000_000


def trio_us() -> int:
    """Trio's clock in place of PostgreSQL's; on MockClock it begins at `START_US`."""
    return START_US + round(trio.current_time() * 1e6)


class InLoop:
    """Answers a `ScheduleStore`. `away`: as if PostgreSQL could not be reached."""

    def __init__(
        self,
        postgres: PostgresSettings,
        settings: ScheduleSettings,
        clock: Callable[[], int] = trio_us,
    ) -> None:
        self.away = False
        self.asked: list[Any] = []
        self._worker = ScheduleWorker(postgres, settings, clock=clock)

    def ask(self, message: Any, *, timeout: float | None = None) -> Awaitable[Any]:
        self.asked.append(message)
        return self._answer(message)

    async def _answer(self, message: Any) -> Any:
        await trio.lowlevel.checkpoint()
        answer = self.answer(message)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def answer(self, message: Any) -> Any:
        """Return the answer, or the exception to raise."""
        if self.away:
            return StoreUnavailable("postgresql", "it is away")
        return self._worker.answer([message])[0]

    def close(self) -> None:
        self._worker.on_stop()
