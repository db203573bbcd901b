"""When a failed actor is started again: values without a clock, a loop or an actor."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Literal

from .checks import check_between, check_count, check_seconds, check_type, check_word
from .quarantine import QuarantinePolicy

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

    Raises ValueError for a negative or infinite `first_s`, a `factor` below 1, a negative `max_s`.
    """

    first_s: float = 0.1
    factor: float = 2.0
    max_s: float = 5.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        check_seconds("first_s", self.first_s, finite=True)
        check_between("factor", self.factor, 1.0, 1e6)
        check_seconds("max_s", self.max_s)
        check_between("jitter", self.jitter, 0.0, 1.0)

    def delay_s(self, restart: int, rng: random.Random) -> float:
        """Seconds to wait before the restart number `restart` (from 1) in the present window."""
        if restart <= 1:
            return 0.0
        try:
            full = min(self.max_s, self.first_s * self.factor ** (restart - 2))
        except OverflowError:  # a float power, beyond 1.8e308
            full = self.max_s if self.first_s else 0.0
        return full * (1.0 - self.jitter * rng.random())


@dataclass(frozen=True, slots=True)
class RestartWindow:
    """At most `max_restarts` restarts in any `within_s` seconds: Erlang/OTP's intensity.

    `at_s` holds the times of the restarts that still count, oldest first.
    """

    max_restarts: int = 3
    within_s: float = 5.0
    at_s: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_count("max_restarts", self.max_restarts)
        check_seconds("within_s", self.within_s, above_zero=True)

    def record(self, now_s: float) -> tuple[RestartWindow, bool]:
        """The window after a failure at `now_s`, and whether it is one too many."""
        recent = tuple(at for at in self.at_s if now_s - at < self.within_s)
        exceeded = len(recent) >= self.max_restarts
        if not exceeded:
            recent = (*recent, now_s)
        return RestartWindow(self.max_restarts, self.within_s, recent), exceeded


_QUARANTINE: Final = QuarantinePolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """What becomes of an actor that fails, and how long it may take to stop.

    `restart` is `permanent` (it is started again always, even after it stopped by itself),
    `transient` (after a failure) or `temporary` (never): Erlang/OTP's words. `max_restarts` in
    `within_s` seconds are its intensity. `shutdown_s` is how long it may take from the request to
    stop, or to passivate, whoever makes it, handling its mailbox included, until it is cancelled:
    in seconds; infinity waits for ever; None is 5 s, and for a Supervisor as long as its children
    take. `on_failure` may take as long, before the next instance. Who shields himself from being
    cancelled is left behind a second later, and a thread at once: the actor has ended. The task of
    a shielded wait is still the system's, and `async with ActorSystem()` ends after it.
    `quarantine` is for messages that crash it again and again.

    Raises ValueError for other words, and for numbers out of range; TypeError for what is no number
    or, as 1.5 for a count, one of another kind.
    """

    restart: Restart = "transient"
    max_restarts: int = 3
    within_s: float = 5.0
    backoff: Backoff = Backoff()
    shutdown_s: float | None = None
    quarantine: QuarantinePolicy = _QUARANTINE

    def __post_init__(self) -> None:
        check_word("restart", self.restart, Restart)
        check_count("max_restarts", self.max_restarts)
        check_seconds("within_s", self.within_s, above_zero=True)
        if self.shutdown_s is not None:
            check_seconds("shutdown_s", self.shutdown_s)
        check_type("backoff", self.backoff, Backoff)
        check_type("quarantine", self.quarantine, QuarantinePolicy)


DEFAULT: Final = RestartPolicy()
"""Made once, as its checks cost as much as a tenth of an actor's start."""
