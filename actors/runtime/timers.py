"""Deadlines and timers of a system: one heap, one task, trio's clock."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import Context
from typing import Any, Final, Protocol

import structlog
import trio

from .home import Home, Owner
from .panic import shown

_log = structlog.get_logger("actors")

_COMPACT_FROM: Final = 256


class Due(Protocol):
    """What can stand in the heap."""

    @property
    def done(self) -> bool:
        """Whether it need not fire any more."""

    def expire(self) -> None:
        """Its time has come."""

    def abandon(self) -> None:
        """Its time will not come: the system has ended."""


class Timers:
    """Calls `expire()` on each entry at its time.

    Entries that are done before their time (an ask that was answered, a cancelled timer) are left
    in the heap and swept out whenever it has doubled: pushing later and later deadlines and never
    removing one is the cheapest thing a heap can do, 0.3 us an ask.

    Arguments:
        turn: entered before what is due expires and left after it: the actors that it wakes run
            there and then, and no other task need be woken for them.
    """

    def __init__(self, turn: AbstractContextManager[None]) -> None:
        self._turn = turn
        self._heap: list[tuple[float, int, Due]] = []
        self._count = 0
        self._limit = _COMPACT_FROM
        self._scope = trio.CancelScope()

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, at_s: float, due: Due) -> None:
        """Have `due` expire at `at_s` on trio's clock."""
        heap = self._heap
        self._count += 1
        heapq.heappush(heap, (at_s, self._count, due))
        if heap[0][2] is due:
            self._scope.deadline = at_s
        if len(heap) > self._limit:
            # In place: run() holds the same list.
            heap[:] = [entry for entry in heap if not entry[2].done]
            heapq.heapify(heap)
            self._limit = max(_COMPACT_FROM, 2 * len(heap))

    def close(self) -> None:
        """Tell what is left that its time will not come: nobody looks at the clock any more."""
        left = [due for _, _, due in self._heap if not due.done]
        self._heap.clear()
        for due in left:
            due.abandon()

    @trio.lowlevel.enable_ki_protection  # actors run in it, and a Ctrl-C is not for them
    async def run(self) -> None:
        """Fire what is due, until cancelled."""
        heap = self._heap
        while True:
            while heap and heap[0][2].done:
                heapq.heappop(heap)
            self._scope = trio.CancelScope(deadline=heap[0][0] if heap else math.inf)
            with self._scope:
                await trio.sleep_forever()
            now = trio.current_time()
            with self._turn:
                while heap and heap[0][0] <= now:
                    due = heapq.heappop(heap)[2]
                    if not due.done:
                        try:
                            due.expire()
                        except BaseException:  # one that raises must not stop all others
                            _log.exception("timer_failed", timer=shown(due))
                    del due


class TimerOwner(Protocol):
    """Whose timers they are."""

    def fired(self, timer: Timer) -> None:
        """Deliver the timer's message."""

    def take(self, timer: Timer) -> bool:
        """Whether the message, just taken out of the mailbox, is still wanted."""


class Timer:
    """A message that an actor gets later, once or again and again; see `Actor.start_timer`.

    A repeating one keeps to the grid start + n * interval. While its last message is undelivered
    it adds none: an actor that was busy for five intervals gets one tick, not five.
    """

    __slots__ = (
        "_at_s",
        "_interval_s",
        "_owner",
        "_timers",
        "done",
        "message",
        "name",
        "pending",
    )

    def __init__(
        self,
        timers: Timers,
        owner: TimerOwner,
        message: Any,
        *,
        at_s: float,
        interval_s: float | None = None,
        name: str | None = None,
    ) -> None:
        self.message = message
        self.name = name
        self.done = False  # cancelled, or fired for the last time
        self.pending = False  # fired, and its message not yet taken out of the mailbox
        self._timers = timers
        self._owner = owner
        self._at_s = at_s
        self._interval_s = interval_s
        timers.add(at_s, self)

    def cancel(self) -> None:
        """No further message, not even one that is in the mailbox already."""
        self.done = True
        self.pending = False

    def abandon(self) -> None:
        self.cancel()

    def expire(self) -> None:
        interval = self._interval_s
        if interval is None:
            self.done = True
        else:
            # From the grid and not from now, or every late wake-up would be a drift.
            missed = math.floor((trio.current_time() - self._at_s) / interval)
            self._at_s += interval * (missed + 1)
            self._timers.add(self._at_s, self)
        if not self.pending:
            self.pending = True
            self._owner.fired(self)

    def take(self, _control: object) -> bool:
        """Whether the message, just taken out of the mailbox, is still wanted."""
        return self._owner.take(self)


class Alarm:
    """A function called once at a time, unless cancelled before.

    `owner`: whose failure it is if it raises, and whose context variables it sees; the instance is
    held until then. `context`: what it sees if it is nobody's.
    """

    __slots__ = ("_context", "_function", "_home", "_owner", "done")

    def __init__(
        self,
        timers: Timers,
        at_s: float,
        function: Callable[[], object],
        home: Home,
        *,
        owner: Owner | None,
        context: Context | None = None,
    ) -> None:
        self.done = False
        self._context = context
        self._function = function
        self._home = home
        self._owner = owner
        timers.add(at_s, self)

    def cancel(self) -> None:
        self.done = True
        # It stays in the heap, and holds nobody there.
        self._function, self._owner, self._context = _nothing, None, None

    def abandon(self) -> None:
        self.cancel()

    def expire(self) -> None:
        self.done = True
        self._home.call_back(self._owner, self._context, self._function)


def _nothing() -> None:
    pass
