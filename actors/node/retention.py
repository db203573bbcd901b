"""Deletes history that is to be kept no longer, a little at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import msgspec

from actors.chat.room import KIND as ROOM
from actors.chat.settings import RoomSettings
from actors.matches.rules.record import Ended
from actors.matches.settings import MatchSettings
from actors.runtime.actor import Actor
from actors.runtime.future import Future
from actors.runtime.handlers import handles
from actors.runtime.persistence import event_name

NAMES: Final = 200
"""How many rooms or matches one step looks at."""
EVENTS: Final = 500
"""Events that one step deletes, at most: some 5 ms of PostgreSQL's time."""
PAUSE_S: Final = 0.25
"""Between two steps: 2,000 events a second at most."""
EVERY_S: Final = 600.0
"""Between two rounds over all rooms and matches."""
ALL: Final = 2**62


class Did(Protocol):
    """What a step has done: up to which name, None for the last; and how much went."""

    @property
    def reached(self) -> str | None: ...
    @property
    def deleted(self) -> int: ...


class Forget(Protocol):
    """Deletes in the event store; each call is one step."""

    def trim_logs(
        self, kind: str, *, after: str, names: int, kept: int, before_us: int, most: int
    ) -> Future[Did]:
        """The oldest events of a kind's names."""

    def drop_ended(
        self, kind: str, last_type: str, *, after: str, names: int, before_us: int
    ) -> Future[Did]:
        """All of those that have ended."""


class _Go(msgspec.Struct, frozen=True, gc=False):
    """Timer: the next step of a round."""

    what: str
    after: str


class _Done(msgspec.Struct, frozen=True):
    """A step has been answered."""

    step: _Go
    did: Future[Did]


class Retention(Actor):
    """Goes over all rooms and ended matches, again and again, and has what is old deleted.

    Arguments:
        forget: the event store's side.
        now_us: microseconds since 1970, UTC.
    """

    def __init__(
        self,
        forget: Forget,
        rooms: RoomSettings,
        matches: MatchSettings,
        now_us: Callable[[], int],
        *,
        every_s: float = EVERY_S,
    ) -> None:
        super().__init__()
        self._forget = forget
        self._rooms = rooms
        self._matches = matches
        self._now_us = now_us
        self._every_s = every_s

    def on_start(self) -> None:
        if self._rooms.forgets:
            self.start_timer(PAUSE_S, _Go("rooms", ""), name="rooms")
        if self._matches.log_s:
            self.start_timer(PAUSE_S, _Go("matches", ""), name="matches")

    @handles(_Go)
    def go(self, message: _Go) -> None:
        if message.what == "rooms":
            did = self._forget.trim_logs(
                ROOM,
                after=message.after,
                names=NAMES,
                kept=self._rooms.history_messages or ALL,
                before_us=self._before_us(self._rooms.history_s),
                most=EVENTS,
            )
        else:
            did = self._forget.drop_ended(
                "match",
                event_name(Ended),
                after=message.after,
                names=NAMES,
                before_us=self._before_us(self._matches.log_s),
            )
        self.pipe_to_self(did, partial(_Done, message))

    def _before_us(self, age_s: float) -> int:
        return self._now_us() - round(age_s * 1e6) if age_s else 0

    @handles(_Done)
    def done(self, message: _Done) -> None:
        what, error = message.step.what, message.did.exception()
        if error is not None:
            self.log.warning("history_not_trimmed", what=what, error=repr(error))
            self.start_timer(self._every_s, message.step, name=what)
            return
        did = message.did.result()
        if did.deleted:
            self.log.info("history_trimmed", what=what, deleted=did.deleted)
        if did.reached is None:  # a round is over
            self.start_timer(self._every_s, _Go(what, ""), name=what)
        else:
            self.start_timer(PAUSE_S, _Go(what, did.reached), name=what)
