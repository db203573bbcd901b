"""Counters that all nodes share, for limits. A caller counts first, and decides by the result.

A service has them as `Frame.counters`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

from persistence.requests import Asked, Increment


class CounterValue(NamedTuple):
    """The value of a counter.

    Attributes:
        total: what was counted in the last `window_s` seconds, including this increment. It is
            estimated from two fixed windows: the count of the window before this one is taken in
            proportion to the part of it that the last `window_s` seconds still cover.
        shared: whether this is the count of all nodes. False: the store is away, and this is the
            count of this node alone.
        present, before: what was counted in the present fixed window, and in the one before it.
        into_s: how much of the present one has passed.
        window_s: the length of a window.
    """

    total: float
    shared: bool
    present: int
    before: int
    into_s: float
    window_s: float

    def falls_to(self, limit: float) -> float:
        """Return in how many seconds `total` is at most `limit`, if nothing more is counted."""
        if self.total <= limit:
            return 0.0
        left_s = self.window_s - self.into_s
        if self.present <= limit:
            return left_s - self.window_s * (limit - self.present) / self.before
        return left_s + self.window_s * (1.0 - limit / self.present)


class Counters:
    """Counts events by name over sliding windows.

    A caller that decides by a count has been counted before it decides. So if many ask at the same
    time, on any nodes, no more of them pass than the limit allows. If they looked first and counted
    later, all of them would pass.

    Arguments:
        worker: the ref of a `CounterWorker`.
        clock: returns seconds, for this node's own counts.
        timeout_s: how long an answer of the store may take. After that, the node's own count is
            used.
        names: how many counts of its own a node keeps. Beyond that, the one that was not used for
            the longest time is dropped.

    Attributes:
        fallbacks: how often the store did not answer.
    """

    def __init__(
        self,
        worker: Asked,
        clock: Callable[[], float],
        *,
        timeout_s: float = 1.0,
        names: int = 100_000,
    ) -> None:
        self._worker = worker
        self._clock = clock
        self._timeout_s = timeout_s
        self._names = names
        self._own: dict[tuple[str, float], _Own] = {}
        self.fallbacks = 0

    async def count(self, name: str, amount: int = 1, *, window_s: float) -> CounterValue:
        """Count, and return the result. A name must always be counted with the same window."""
        own = self._add_own(name, amount, window_s)
        request = Increment(name, amount, max(1, round(window_s * 1000)))
        try:
            found = await self._worker.ask(request, timeout=self._timeout_s)
        except Exception:  # any error of an ask: the store is away or late, or too much waits
            self.fallbacks += 1
            return own
        count, before, into_ms = cast("tuple[int, int, int]", found)
        return _value(count, before, into_ms / 1000, request.window_ms / 1000, shared=True)

    def _add_own(self, name: str, amount: int, window_s: float) -> CounterValue:
        slot, into_s = divmod(self._clock(), window_s)
        own = self._own.pop((name, window_s), None)
        if own is None or slot > own.slot + 1:
            own = _Own(slot, 0, 0)
        elif slot > own.slot:
            own = _Own(slot, 0, own.now)
        own = own._replace(now=own.now + amount)
        self._own[name, window_s] = own  # at the end, so that the first is the oldest
        if len(self._own) > self._names:
            del self._own[next(iter(self._own))]
        return _value(own.now, own.before, into_s, window_s, shared=False)


class _Own(NamedTuple):
    slot: float
    now: int
    before: int


def _value(
    present: int, before: int, into_s: float, window_s: float, *, shared: bool
) -> CounterValue:
    total = present + before * (1.0 - into_s / window_s)
    return CounterValue(total, shared, present, before, into_s, window_s)
