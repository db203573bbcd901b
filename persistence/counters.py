"""Counters that all nodes share, for limits: increment first, then decide."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

from persistence.requests import Asked, Increment


class Count(NamedTuple):
    """What a counter stands at.

    `total`: of the last `window_s`, this increment with it. What the window before counted goes in
    with the share of it that the sliding window still covers, as if it had come evenly.
    `shared`: of all nodes; False: the store is away, and it is this node's alone.
    """

    total: float
    shared: bool


class Counters:
    """Counts events by name over windows that slide.

    Whoever decides by a count has counted before, so that of many who ask at once, on whichever
    nodes, no more get through than may: a look first and an increment later would let all of them.

    Arguments:
        worker: answers for a `CounterWorker`.
        clock: in seconds, for this node's own count.
        timeout_s: how long an answer may take; then this node's own count is the answer.
        names: counters of its own that a node keeps; beyond it the one longest untouched goes.
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
        """How often the store did not answer."""

    async def add(self, name: str, amount: int = 1, *, window_s: float) -> Count:
        """Count, and return what it has come to. A name is counted by one window only."""
        own = self._add_own(name, amount, window_s)
        request = Increment(name, amount, max(1, round(window_s * 1000)))
        try:
            found = await self._worker.ask(request, timeout=self._timeout_s)
        except Exception:  # away, late, or more waits than may: whatever an ask raises means so
            self.fallbacks += 1
            return Count(own, shared=False)
        count, before, into_ms = cast("tuple[int, int, int]", found)
        return Count(_sliding(count, before, into_ms / request.window_ms), shared=True)

    def _add_own(self, name: str, amount: int, window_s: float) -> float:
        slot, into_s = divmod(self._clock(), window_s)
        own = self._own.pop((name, window_s), None)
        if own is None or slot > own.slot + 1:
            own = _Own(slot, 0, 0)
        elif slot > own.slot:
            own = _Own(slot, 0, own.now)
        own = own._replace(now=own.now + amount)
        self._own[name, window_s] = own  # at the end: the longest untouched is the first
        if len(self._own) > self._names:
            del self._own[next(iter(self._own))]
        return _sliding(own.now, own.before, into_s / window_s)


class _Own(NamedTuple):
    slot: float
    now: int
    before: int


def _sliding(count: int, before: int, share: float) -> float:
    """Where `share` of this window has passed."""
    return count + before * (1.0 - share)
