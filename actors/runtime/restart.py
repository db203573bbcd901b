"""Restart policies and back-offs: values that need no clock, loop or actor."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Literal

from .checks import check_between, check_count, check_seconds, check_type, check_word
from .quarantine import QuarantinePolicy

Restart = Literal["permanent", "transient", "temporary"]
"""When an actor is started again, in the words of Erlang/OTP.

`permanent`: always, even after it stopped by itself. `transient`: after a failure. `temporary`:
never.
"""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the n-th restart in a window.

    The delay grows exponentially, with jitter.

    The first restart is immediate, since most crashes come from a single bad message.

    Arguments:
        first_s: the delay before the second restart, in seconds.
        factor: each further delay is this many times as long as the one before, from 1 to a
            million.
        max_s: the longest delay, in seconds.
        jitter: the share of a delay that is random, from 0 to 1, so that a hundred actors that
            failed together do not start again together.

    Raises ValueError for a number out of its range or a `first_s` that is infinite, TypeError for
    what is no number.
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
        """Return the delay, in seconds, before restart number `restart` (from 1) in the window."""
        if restart <= 1:
            return 0.0
        try:
            full = min(self.max_s, self.first_s * self.factor ** (restart - 2))
        except OverflowError:  # the power is beyond 1.8e308, the largest float
            full = self.max_s if self.first_s else 0.0
        return full * (1.0 - self.jitter * rng.random())


@dataclass(frozen=True, slots=True)
class RestartWindow:
    """Counts restarts: at most `max_restarts` in any `within_s` seconds (Erlang/OTP's intensity).

    `at_s` has the times of the restarts that still count, in seconds, the oldest first.
    """

    max_restarts: int = 3
    within_s: float = 5.0
    at_s: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_count("max_restarts", self.max_restarts)
        check_seconds("within_s", self.within_s, above_zero=True)

    def record(self, now_s: float) -> tuple[RestartWindow, bool]:
        """Return the window after a failure at `now_s`, and whether that was one too many."""
        recent = tuple(at for at in self.at_s if now_s - at < self.within_s)
        exceeded = len(recent) >= self.max_restarts
        if not exceeded:
            recent = (*recent, now_s)
        return RestartWindow(self.max_restarts, self.within_s, recent), exceeded


_QUARANTINE: Final = QuarantinePolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """What happens when an actor fails, and how long it may take to stop.

    Arguments:
        restart: `permanent` (it is always started again, even after it stopped by itself),
            `transient` (after a failure) or `temporary` (never). The words are Erlang/OTP's.
        max_restarts: how many restarts are allowed in `within_s` seconds.
        within_s: see `max_restarts`.
        backoff: the delay before a restart.
        shutdown_s: how long the actor may take to stop or to passivate, in seconds, from the
            request on and including the messages in its mailbox. Then it is cancelled. `on_failure`
            may take as long before the next instance starts. Infinity: for ever. None: 5 s, or for
            a Supervisor as long as its children take.
        quarantine: what to do about messages that crash the actor repeatedly.

    If a cancelled actor shields itself from the cancellation, the actor counts as ended a second
    later; an actor in a thread does at once. Its task or thread goes on, and `async with
    ActorSystem()` still waits for a task.

    Raises ValueError for other words and for numbers out of range, TypeError for what is no number
    and for a count that is no int.
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
"""The default policy. It is made once, because its checks cost a tenth of an actor's start."""
