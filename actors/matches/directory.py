"""The directory of matches: creates and lists them."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
import structlog

from actors.edge.failures import Refused, with_others
from actors.edge.identity import Identity
from actors.facts import TIMEOUT_S, Facts
from actors.matches.commands import OpenMatch
from actors.matches.entry import MatchEntry, MatchStart
from actors.matches.faults import GameFaults
from actors.matches.host import MatchHost
from actors.matches.messages import RollCall
from actors.matches.playthrough import Playthrough
from actors.matches.queries import Listed, ListMatches, MatchOfKey
from actors.matches.referee import GameCrashed
from actors.matches.rules.record import Created
from actors.matches.rules.room import Limits
from actors.runtime.errors import MailboxFull
from actors.runtime.future import Future
from actors.runtime.system import ActorSystem
from protocol.errors import INTERNAL, OUT_OF_RANGE, TOO_LONG, UNAVAILABLE, UNKNOWN_GAME
from protocol.messages.match import (
    MatchCreate,
    MatchCreated,
    Matches,
    MatchList,
    MatchSummary,
)

T = TypeVar("T")
M = TypeVar("M")


class Directory:
    """Answers clients' requests with commands and queries on the rows of matches, which all nodes
    share. It never waits: answers are futures.

    A match is created in three steps. First its game judges the params, so that a refused match
    leaves nothing behind. Then a command enters the match with its game and params, if there is
    room for it. Then the match's actor makes the match and writes its first event, and the client
    is answered. If the server ends in between, the row has all that the match is made of, and the
    next call makes it: a retry with the same key, or the `Waker`.

    Arguments:
        host: the games, the settings, and the reports of this node's matches.
        facts: runs commands and queries.
        system: the system that the matches are actors of.
    """

    log: Final = structlog.get_logger("actors.matches")

    def __init__(self, host: MatchHost, facts: Facts, system: ActorSystem) -> None:
        self._host = host
        self._facts = facts
        self._system = system
        self._making: dict[str, Future[MatchCreated]] = {}
        settings = host.settings
        self._limits = Limits(
            of_all=settings.max_matches,
            of_user=settings.max_matches_of_user,
            of_address=settings.max_matches_of_address,
            unjoined_ms=round(settings.unjoined_after_s * 1000),
        )

    # --- creating --------------------------------------------------------------------------------

    def create(self, who: Identity, request: MatchCreate) -> Future[MatchCreated]:
        """Create a match, one for each idempotency key of a user.

        It is refused with UNKNOWN_GAME, TOO_LONG, TOO_MANY_MATCHES, or as the game refuses it.
        """
        match, seed = self._host.name_match(request.game), self._host.new_seed()
        try:
            self._judge(match, request, seed)
        except Refused as refused:
            if request.key is None:
                raise
            return self._made_before(who.user, request.key, refused)
        command = OpenMatch(
            match=match,
            game=request.game,
            user=who.user,
            key=request.key,
            address=who.address,
            start=MatchStart(seed, request.params).packed(),
            limits=self._limits,
        )
        return self._facts.execute(command, user=who.user).then(self._call)

    def _judge(self, match: str, request: MatchCreate, seed: int) -> None:
        """Raise `Refused` if the match that the request asks for cannot be made."""
        host, params_bytes = self._host, self._host.settings.params_bytes
        game = host.games.get(request.game)
        if game is None:
            raise Refused(UNKNOWN_GAME)
        if len(msgspec.msgpack.encode(request.params)) > params_bytes:
            raise Refused(TOO_LONG, f"params: at most {params_bytes} bytes of msgpack")
        faults = GameFaults(self, match, host.counters)
        play = Playthrough(match, game, host.settings, faults.note_held_up)
        try:
            play.begin(Created(request.game, request.params, seed, host.clock_ms()))
        except GameCrashed as error:
            faults.note_crash(error, 0)
            raise Refused(INTERNAL) from error

    def _made_before(self, user: str, key: str, refused: Refused) -> Future[MatchCreated]:
        """Return the answer of the first try, if this is a retry; else fail with `refused`.

        The games may have changed since the first try.
        """

        def found(match: str | None) -> MatchCreated:
            if match is None:
                raise refused
            return MatchCreated(match)

        return self._facts.ask(MatchOfKey(user, key)).map(found)

    def _call(self, entry: MatchEntry) -> Future[MatchCreated]:
        """Have a match made that was entered, unless it was made already.

        Raises StoreBusy if too many retries wait for the first try.
        """
        first = self._making.get(entry.match)
        if first is not None:
            return with_others(first)
        answer: Future[MatchCreated] = Future(self._system.home)
        call = entry.call()
        if isinstance(call, RollCall):
            answer.set(MatchCreated(entry.match))
            return answer
        self._making[entry.match] = answer

        def called(done: Future[Any]) -> None:
            del self._making[entry.match]
            error = done.exception()
            if isinstance(error, MailboxFull):  # its code would say that nothing was done
                error = Refused(UNAVAILABLE, "the match is to be made later")
            if error is None:
                answer.set(MatchCreated(entry.match))
            else:
                answer.set_exception(error)

        match = self._system.ref("match", entry.match)
        match.ask(call, timeout=TIMEOUT_S).when_done(called)
        return answer

    # --- listing ---------------------------------------------------------------------------------

    def list(self, who: Identity, request: MatchList) -> Future[Matches]:
        """Return the running matches, newest first. It is refused with OUT_OF_RANGE.

        A replica may answer, for whoever has not just created a match.
        """
        limit = self._host.settings.list_limit
        if request.limit > limit:
            raise Refused(OUT_OF_RANGE, f"limit: at most {limit}")
        games = [name for name in self._host.games if request.game is None or request.game == name]
        # A node knows which of its own matches have just ended, before the rows do.
        ended = self._host.standing.ended()

        query = ListMatches(games, request.limit + len(ended))

        def found(listed: list[Listed]) -> Matches:
            running = [self._summary(one) for one in listed if one.match not in ended]
            return Matches(running[: request.limit])

        return self._facts.ask_late(query, who.user).map(found)

    def _summary(self, one: Listed) -> MatchSummary:
        players = self._host.standing.players(one.match)
        return MatchSummary(
            match=one.match,
            game=one.game,
            players=one.players if players is None else players,
            max_players=self._host.games[one.game].max_players,
            created=one.at,
        )
