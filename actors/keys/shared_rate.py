"""`SharedRates`: the rate of each key over all nodes.

Each node counts the requests that it lets in, and adds its count to a shared counter in Valkey a
few times a second. So no request waits for Valkey. Between two additions the nodes may together let
in too many requests. These count too, so fewer are let in afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import trio

from actors.keys.rows import ApiKey
from persistence.counters import CounterValue
from protocol.errors import RATE_LIMITED, RequestError

BURSTS: Final = 10.0
"""The length of the window, in bursts. In each window a key may exceed its rate by one burst."""
PAUSE_S: Final = 0.05
"""The pause between two additions for one key."""
LONGEST_S: Final = 60.0
SHORTEST_S: Final = 1.0
_MOST: Final = 10_000


class SharedCounters(Protocol):
    """Counters that all nodes share."""

    async def count(self, name: str, amount: int = 1, *, window_s: float) -> CounterValue:
        """Add to a counter, and return its value."""


class _Rate:
    __slots__ = ("asking", "over_until", "uncounted")

    def __init__(self) -> None:
        self.uncounted = 0
        self.asking = False
        self.over_until = 0.0


class SharedRates:
    """Refuses what a key asks for beyond its rate, whatever node it asks.

    Arguments:
        counters: count over all nodes.
        start: starts a function in the background.
        clock: seconds, on a clock that does not go back.

    Attributes:
        refused: how many requests were refused.
    """

    def __init__(
        self,
        counters: SharedCounters,
        start: Callable[..., Any],
        clock: Callable[[], float],
    ) -> None:
        self._counters = counters
        self._start = start
        self._clock = clock
        self._rates: dict[str, _Rate] = {}
        self.refused = 0

    def admit(self, key: ApiKey) -> None:
        """Count a request. Raises RequestError: RATE_LIMITED."""
        rate = self._rates.get(key.id)
        if rate is None:
            if len(self._rates) >= _MOST:
                self._rates.clear()
            rate = self._rates[key.id] = _Rate()
        left_s = rate.over_until - self._clock()
        if left_s > 0:
            self.refused += 1
            raise RequestError(RATE_LIMITED, "this key, over all nodes", retry_in_s=left_s)
        rate.uncounted += 1
        if not rate.asking:
            rate.asking = True
            self._start(self._count, key, rate)

    async def _count(self, key: ApiKey, rate: _Rate) -> None:
        window_s = min(LONGEST_S, max(SHORTEST_S, BURSTS * key.burst / key.requests_per_s))
        most = key.burst + key.requests_per_s * window_s
        try:
            while rate.uncounted:
                amount, rate.uncounted = rate.uncounted, 0
                name = f"keys.{key.id}"
                found = await self._counters.count(name, amount, window_s=window_s)
                if found.shared and found.total > most:
                    # As the window moves on, the total falls at the key's rate or faster.
                    over_s = (found.total - most) / key.requests_per_s
                    rate.over_until = self._clock() + min(window_s, max(0.05, over_s))
                await trio.sleep(PAUSE_S)
        finally:
            rate.asking = False
