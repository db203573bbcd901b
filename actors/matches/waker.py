"""The waker: brings the matches back that ran before this node started."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, ClassVar, Final

import msgspec
from pykka import ActorDeadError

from actors.facts import Facts
from actors.matches.commands import SERVICE
from actors.matches.entry import MatchEntry
from actors.matches.messages import RollCall
from actors.matches.old_directory import take_over_from
from actors.matches.queries import IsTakenOver, RunningMatches, UnmadeMatches
from actors.matches.standing import Standing
from actors.runtime.actor import Actor
from actors.runtime.errors import MailboxFull
from actors.runtime.future import Future
from actors.runtime.handlers import handles
from actors.runtime.mailbox import MailboxSpec
from actors.runtime.stores import EventStore

WAKER: Final = "match-waker"
WAKE_EVERY_S: Final = 0.05
WAKE_AT_ONCE: Final = 20
"""How many matches are called together after a start. That makes 400 a second, so that the first
requests of players need not wait for all the recoveries."""
SWEEP_S: Final = 30.0
"""The pause between two calls of matches that have not reported."""
STORE_RETRY_S: Final = 1.0
"""The pause before the next attempt if PostgreSQL is not there."""


class Wake(msgspec.Struct, frozen=True, gc=False):
    """Asks the waker to call all running matches of this node, after a start or after more of them
    were placed here.
    """


class _Found(msgspec.Struct, frozen=True):
    """The page of running matches after this one was read, or could not be read."""

    after: str
    done: Future[Any]


class _Next(msgspec.Struct, frozen=True, gc=False):
    """Timer: read the page after this match."""

    after: str


class _Sweep(msgspec.Struct, frozen=True, gc=False):
    """Timer: call matches again."""


class _Unmade(msgspec.Struct, frozen=True):
    """The matches that were entered and not made were looked up."""

    done: Future[Any]


class Waker(Actor):
    """Reads the rows page by page, and calls each match that belongs on this node.

    A match that was entered and not made, because the server was killed in between, is made by that
    call. Every `SWEEP_S` seconds the waker calls the matches again that have not reported, and
    those that were entered at least `SWEEP_S` seconds ago and not made: their node has died, or
    their log had no room.

    Once for a database, before the first call, it has the rows take over what the directory knew
    when it was an actor.

    Arguments:
        standing: the reports of the matches.
        facts: runs commands and queries.
        events: has the log of the old directory.
    """

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=64)

    def __init__(self, standing: Standing, facts: Facts, events: EventStore) -> None:
        super().__init__()
        self._standing = standing
        self._facts = facts
        self._events = events
        self._woken = 0

    def on_start(self) -> None:
        self.start_ticks(SWEEP_S, _Sweep(), name="sweep")
        self.start_timer(0.0, Wake(), name="wake")

    @handles(Wake)
    async def wake(self, _: Wake) -> None:
        """Begin with the first page."""
        try:
            if not await self._facts.ask(IsTakenOver()):
                old = await take_over_from(self._events)
                await self._facts.execute(old, user=SERVICE)
                known = {"running": len(old.running), "keys": len(old.ended)}
                self.log.info("directory_taken_over", **known)
        except Exception as error:  # PostgreSQL is not there, or the old log cannot be read
            self.log.warning("matches_not_found", reason=repr(error))
            self.start_timer(STORE_RETRY_S, Wake(), name="wake")
            return
        self._woken = 0
        self._read("")

    @handles(_Next)
    def next(self, message: _Next) -> None:
        """Read the next page."""
        self._read(message.after)

    def _read(self, after: str) -> None:
        page = self._facts.ask(RunningMatches(after, WAKE_AT_ONCE))
        self.pipe_to_self(page, partial(_Found, after))

    @handles(_Found)
    def found(self, message: _Found) -> None:
        """Call the matches of a page."""
        error = message.done.exception()
        if error is not None:  # PostgreSQL is not there
            self.log.warning("matches_not_found", reason=repr(error))
            self.start_timer(STORE_RETRY_S, _Next(message.after), name="wake")
            return
        entries: Sequence[MatchEntry] = message.done.result()
        self._woken += self._call(entries)
        if len(entries) == WAKE_AT_ONCE:
            self.start_timer(WAKE_EVERY_S, _Next(entries[-1].match), name="wake")
        elif self._woken:
            self.log.info("matches_woken", matches=self._woken)

    def _call(self, entries: Iterable[MatchEntry]) -> int:
        mine = [entry for entry in entries if self.system.belongs_here("match", entry.match)]
        self._standing.expects(entry.match for entry in mine if entry.start is None)
        for entry in mine:
            self._tell(entry.match, entry.call())
        return len(mine)

    def _tell(self, match: str, message: msgspec.Struct) -> None:
        try:
            self.system.ref("match", match).tell(message)
        except (MailboxFull, ActorDeadError) as error:  # the next sweep tries again
            self.log.warning("match_not_called", match=match, error=repr(error))

    @handles(_Sweep)
    def sweep(self, _: _Sweep) -> None:
        """Call the matches that have not reported, and look up those that were not made."""
        for match in self._standing.unheard()[:WAKE_AT_ONCE]:
            self._tell(match, RollCall())
        unmade = self._facts.ask(UnmadeMatches(round(SWEEP_S * 1000), WAKE_AT_ONCE))
        self.pipe_to_self(unmade, _Unmade)

    @handles(_Unmade)
    def unmade(self, message: _Unmade) -> None:
        """Call the matches that were entered and not made."""
        if message.done.exception() is None:  # else the next sweep tries again
            self._call(message.done.result())
