"""Rate limits: a token bucket, and the limits of one client made of three of them.

The bucket is kept as one number, the time at which it is full again (the virtual scheduling form
of the generic cell rate algorithm, ITU-T I.371): nothing to refill, no timer, 24 bytes of state.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Final

from actors.edge.rules.by_name import ByName

FORGIVEN = 0.1
"""The part of its rate by which a client may exceed it for ever without being a flood."""


class Bucket:
    """`burst` tokens at most, refilled by `rate_per_s` a second; full at the start."""

    __slots__ = ("_full_at", "_seconds_each", "_tolerance_s")

    def __init__(self, rate_per_s: float, burst: float) -> None:
        """A rate of 0 means no limit."""
        self._seconds_each = 1.0 / rate_per_s if rate_per_s else 0.0
        self._tolerance_s = burst * self._seconds_each if rate_per_s else math.inf
        self._full_at = -math.inf

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Take `amount` tokens, or none and return False if there are fewer.

        A full bucket gives any amount, and is in debt afterwards. Otherwise an amount greater than
        the burst could never pass. `now`: seconds on a clock that does not go back.
        """
        full_at = self._full_at
        if full_at <= now:
            self._full_at = now + amount * self._seconds_each
            return True
        full_at += amount * self._seconds_each
        if full_at - now > self._tolerance_s:
            return False
        self._full_at = full_at
        return True

    def give_back(self, amount: float) -> None:
        """Put back tokens that were taken for something that was not done after all."""
        self._full_at -= amount * self._seconds_each

    def full(self, now: float) -> bool:
        """Whether no token is missing, as in a bucket that was never used."""
        return self._full_at <= now

    def ready_in(self, now: float, amount: float = 1.0) -> float:
        """Seconds until `take(amount)` succeeds, if nothing else is taken in the meantime."""
        full_in = max(0.0, self._full_at - now)
        return max(0.0, min(full_in, full_in + amount * self._seconds_each - self._tolerance_s))


def take_all(now: float, amount: float, *buckets: Bucket | None) -> Bucket | None:
    """Take `amount` from each bucket, or from none.

    Returns the first bucket that has fewer tokens, or None if all had enough. None in place of a
    bucket stands for no limit.
    """
    for bucket in buckets:
        if bucket is not None and not bucket.take(now, amount):
            for taken in buckets[: buckets.index(bucket)]:
                if taken is not None:
                    taken.give_back(amount)
            return bucket
    return None


_SPARE: Final = 1000
"""How many budgets are kept before it is asked which of them are full."""


class VisitorBudgets:
    """Budgets by name, of who has no other place on this node to keep one: sessions of other nodes.

    Those that are full again are as good as new, and are forgotten.
    """

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self._new = partial(Bucket, rate_per_s, burst)
        self._budgets = ByName(Bucket.full, _SPARE)

    def budget(self, name: str, now: float) -> Bucket:
        """Return the budget of a name, a full one if there was none."""
        return self._budgets.get(name, now, self._new)


class ClientLimits:
    """Limits what one client may send: messages a second, bytes a second, and how long a flood.

    `count` is the cost of a message: 1, or more for a message that costs more than others.
    """

    __slots__ = ("_bytes", "_message_s", "_messages", "_octet_s", "_patience")

    def __init__(
        self,
        *,
        messages_per_s: float,
        messages_burst: float,
        bytes_per_s: float,
        bytes_burst: float,
        flooding_s: float,
    ) -> None:
        """Rates of 0 mean no limit. `flooding_s`: how long a client may send at twice its rate."""
        self._messages = Bucket(messages_per_s, messages_burst)
        self._bytes = Bucket(bytes_per_s, bytes_burst)
        self._message_s = 1.0 / messages_per_s if messages_per_s else 0.0
        self._octet_s = 1.0 / bytes_per_s if bytes_per_s else 0.0
        # The tokens are seconds of excess: at twice the rate one second of excess comes a second.
        self._patience = Bucket(FORGIVEN, (1.0 - FORGIVEN) * flooding_s)

    def admit(self, now: float, size: int, count: int = 1) -> bool:
        """Count messages of `size` bytes together, if they are within the limits; returns if so."""
        return self._messages.take(now, count) and self._bytes.take(now, size)

    def ready_in(self, now: float, size: int, count: int = 1) -> float:
        """Seconds until such a message would be admitted."""
        return max(self._messages.ready_in(now, count), self._bytes.ready_in(now, size))

    def flooding(self, now: float, size: int, count: int = 1) -> bool:
        """Count messages that were not admitted; returns whether they are a flood by now."""
        return not self._patience.take(now, max(count * self._message_s, size * self._octet_s))
