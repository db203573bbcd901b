"""When a failed actor is started again: values without a clock, a loop or an actor."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Restart = Literal["permanent", "transient", "temporary"]
"""`permanent`: always, even after it stopped by itself; `transient`: after a failure; `temporary`:
never. The words and their meaning are Erlang/OTP's."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the n-th restart in a window: exponential, with jitter.

    The first is immediate, since most crashes are a single bad message's. The second waits
    `first_s` seconds, each further one `factor` times as long, at most `max_s`. `jitter` is the
    share of the delay that is random (0 none, 1 all): a hundred actors that failed together
    must not come back together.
    """

    first_s: float = 0.1
    factor: float = 2.0
    max_s: float = 5.0
    jitter: float = 0.5

    def delay_s(self, restart: int, rng: random.Random) -> float:
        """Seconds to wait before the restart number `restart` (from 1) in the present window."""
        if restart <= 1:
            return 0.0
        # The exponent is bounded because a float power overflows near 1e308.
        full = min(self.max_s, self.first_s * self.factor ** min(restart - 2, 64))
        return full * (1.0 - self.jitter * rng.random())


@dataclass(frozen=True, slots=True)
class RestartWindow:
    """At most `max_restarts` restarts in any `within_s` seconds: Erlang/OTP's intensity.

    `at_s` holds the times of the restarts that still count, oldest first.
    """

    max_restarts: int = 3
    within_s: float = 5.0
    at_s: tuple[float, ...] = ()

    def record(self, now_s: float) -> tuple[RestartWindow, bool]:
        """The window after a failure at `now_s`, and whether it is one too many."""
        recent = tuple(at for at in self.at_s if now_s - at < self.within_s)
        exceeded = len(recent) >= self.max_restarts
        if not exceeded:
            recent = (*recent, now_s)
        return RestartWindow(self.max_restarts, self.within_s, recent), exceeded


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """What becomes of an actor that fails, and how long it may take to stop.

    `max_restarts` in `within_s` seconds are its intensity. `shutdown_s` is how long it may take
    from the request to stop, handling its mailbox included, until it is cancelled: in seconds;
    infinity waits for ever; None is 5 s, and for a Supervisor as long as its children take.
    """

    restart: Restart = "transient"
    max_restarts: int = 3
    within_s: float = 5.0
    backoff: Backoff = Backoff()
    shutdown_s: float | None = None
