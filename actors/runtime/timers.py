"""The deadlines, timers and alarms of a system. One task waits for all of them."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import Context
from typing import Any, Final, Protocol

import structlog
import trio

from .home import CallOwner, Home
from .panic import shown

_log = structlog.get_logger("actors")

_COMPACT_FROM: Final = 256


class Due(Protocol):
    """An entry of the heap: a timer, an alarm, or the reply of an ask, which has a deadline."""

    @property
    def done(self) -> bool:
        """Whether it is settled or cancelled, so that its time does not matter any more."""

    def expire(self) -> None:
        """Act, since its time has come."""

    def abandon(self) -> None:
        """Give up, since the system has ended and its time will not come."""


class Timers:
    """Calls `expire()` on each entry at its time, by trio's clock.

    Entries that are done before their time (an ask that was answered, a cancelled timer) stay in
    the heap and are swept out whenever the heap has doubled. Deadlines mostly come in ascending
    order, and to push those and never remove one is the cheapest use of a heap: 0.3 us an ask.

    Arguments:
        turn: entered while entries expire, so that the actors they wake run at once.
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
            # The list is changed in place because `run` holds it as well.
            heap[:] = [entry for entry in heap if not entry[2].done]
            heapq.heapify(heap)
            self._limit = max(_COMPACT_FROM, 2 * len(heap))

    def close(self) -> None:
        """Abandon the entries that are left, since the system has ended."""
        left = [due for _, _, due in self._heap if not due.done]
        self._heap.clear()
        for due in left:
            due.abandon()

    @trio.lowlevel.enable_ki_protection  # actors run in this task, and a Ctrl-C is not for them
    async def run(self) -> None:
        """Expire entries as they are due, until cancelled."""
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
                        except BaseException:  # an entry that raises must not stop the others
                            _log.exception("timer_failed", timer=shown(due))
                    del due


class TimerOwner(Protocol):
    """The owner of timers."""

    def fired(self, timer: Timer) -> None:
        """Put the timer's message into the mailbox."""

    def take(self, timer: Timer) -> bool:
        """Return whether the message, just taken out of the mailbox, is still wanted."""


class Timer:
    """A message that an actor gets later, once or repeatedly; see `Actor.start_timer`.

    A repeating timer fires at start + n * interval, without drift. While its last message waits in
    the mailbox it adds no other: an actor that was busy for five intervals gets one tick, not five.

    Attributes:
        message: the message.
        name: the timer's name, if it has one.
        done: whether it was cancelled, or has fired for the last time.
        pending: whether it has fired and its message is still in the mailbox.
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
        self.done = False
        self.pending = False
        self._timers = timers
        self._owner = owner
        self._at_s = at_s
        self._interval_s = interval_s
        timers.add(at_s, self)

    def cancel(self) -> None:
        """Cancel the timer. No message of it is handled any more, not even one in the mailbox."""
        self.done = True
        self.pending = False

    def abandon(self) -> None:
        self.cancel()

    def expire(self) -> None:
        interval = self._interval_s
        if interval is None:
            self.done = True
        else:
            # Count from the last time that was due, not from now: else each delay would add up.
            missed = math.floor((trio.current_time() - self._at_s) / interval)
            self._at_s += interval * (missed + 1)
            self._timers.add(self._at_s, self)
        if not self.pending:
            self.pending = True
            self._owner.fired(self)

    def take(self, _control: object) -> bool:
        """Return whether the message, just taken out of the mailbox, is still wanted."""
        return self._owner.take(self)


class Alarm:
    """A function that is called once at a given time, unless the alarm is cancelled before.

    Arguments:
        timers: the heap that it waits in.
        at_s: when to call the function, by trio's clock.
        function: is called without arguments.
        home: where the function is called.
        owner: the actor that fails if the function raises, and whose context variables it sees;
            None for no actor. The alarm keeps the owner's instance in memory.
        context: the context variables that the function sees if it has no owner.
    """

    __slots__ = ("_context", "_function", "_home", "_owner", "done")

    def __init__(
        self,
        timers: Timers,
        at_s: float,
        function: Callable[[], object],
        home: Home,
        *,
        owner: CallOwner | None,
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
        # The alarm stays in the heap for a while, and must not keep anything in memory there.
        self._function, self._owner, self._context = _nothing, None, None

    def abandon(self) -> None:
        self.cancel()

    def expire(self) -> None:
        self.done = True
        self._home.call_back(self._owner, self._context, self._function)


def _nothing() -> None:
    pass
