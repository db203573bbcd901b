"""Deletes history that need not be kept any longer, a little at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import msgspec

from actors.runtime.actor import Actor
from actors.runtime.future import Future
from actors.runtime.handlers import handles

NAMES: Final = 200
"""How many names one step looks at."""
EVENTS: Final = 500
"""The most events that one step deletes, which takes PostgreSQL some 5 ms."""
ALL: Final = 2**62
"""So many of the newest events are kept where their number has no limit."""
PAUSE_S: Final = 0.25
"""The pause between two steps, for at most 2,000 events a second."""
EVERY_S: Final = 600.0
"""The pause between two rounds over all names."""


class Did(Protocol):
    """The result of a step."""

    @property
    def reached(self) -> str | None:
        """The last name that the step looked at; None if the round is over."""

    @property
    def deleted(self) -> int:
        """How many events the step deleted."""


class _Go(msgspec.Struct, frozen=True, gc=False):
    """Timer: the next step of a round."""

    after: str


class _Done(msgspec.Struct, frozen=True):
    """A step has been answered."""

    step: _Go
    did: Future[Did]


class Retention(Actor):
    """Goes over all names of a kind, again and again, and has old events deleted.

    Arguments:
        what: what is deleted, for the log.
        step: takes a name, looks at the `NAMES` names after it, and returns a future of a `Did`.
        every_s: the pause between two rounds, in seconds.
    """

    def __init__(
        self, what: str, step: Callable[[str], Future[Did]], *, every_s: float = EVERY_S
    ) -> None:
        super().__init__()
        self._what = what
        self._step = step
        self._every_s = every_s

    def on_start(self) -> None:
        self.start_timer(PAUSE_S, _Go(""))

    @handles(_Go)
    def go(self, message: _Go) -> None:
        self.pipe_to_self(self._step(message.after), partial(_Done, message))

    @handles(_Done)
    def done(self, message: _Done) -> None:
        error = message.did.exception()
        if error is not None:
            self.log.warning("history_not_trimmed", what=self._what, error=repr(error))
            self.start_timer(self._every_s, message.step)
            return
        did = message.did.result()
        if did.deleted:
            self.log.info("history_trimmed", what=self._what, deleted=did.deleted)
        if did.reached is None:  # a round is over
            self.start_timer(self._every_s, _Go(""))
        else:
            self.start_timer(PAUSE_S, _Go(did.reached))


def before_us(age_s: float, now_us: int) -> int:
    """Return the time `age_s` seconds before `now_us`, in microseconds since 1970, UTC.

    An age of 0 means that everything is kept, and gives 0.
    """
    return now_us - round(age_s * 1e6) if age_s else 0
