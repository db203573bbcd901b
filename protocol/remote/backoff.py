"""How long to wait before the next attempt to connect. Pure: randomness is handed in."""

from __future__ import annotations

import random

import msgspec


class ReconnectBackoff(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Exponential back-off with full jitter: a random wait below a bound that doubles.

    If many clients lose one server at once, full jitter spreads them best and costs the server
    least (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). The first
    wait is random as well, because a server that drains sends everyone away within seconds.
    """

    first_s: float = 0.5
    """The bound of the first wait, in seconds."""
    factor: float = 2.0
    max_s: float = 30.0
    """The largest bound, in seconds."""
    drained_s: float = 0.1
    """The bound of the first wait after a connection that the server closed because it drains, if
    `first_s` is not shorter. The server spreads those over seconds itself."""

    def bound_s(self, attempt: int) -> float:
        """Return the longest wait before attempt number `attempt`, from 0, in seconds."""
        if self.first_s <= 0:
            return 0.0
        # The exponent is limited so that the power fits into a float. `max_s` is reached by then.
        return min(self.max_s, self.first_s * self.factor ** min(attempt, 64))

    def wait_after_drain_s(self, rng: random.Random) -> float:
        """Return the wait before the first attempt after a drain, in seconds."""
        return rng.uniform(0.0, min(self.drained_s, self.bound_s(0)))

    def wait_s(self, attempt: int, rng: random.Random) -> float:
        """Return the wait before attempt number `attempt`, from 0, in seconds."""
        return rng.uniform(0.0, self.bound_s(attempt))
