"""How players take places in a match, come back to them, and give them up."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import msgspec

from actors.edge.failures import Refused, refuse_late
from actors.edge.hub_messages import Adopt
from actors.edge.topic_messages import Join, Part, Resume, Resumed
from actors.matches.arrivals import Arrivals
from actors.matches.attendance import Attendance
from actors.matches.match_log import RETRY_S, MatchLog, Outcome
from actors.matches.messages import Arrived
from actors.matches.pending import Pending
from actors.matches.playthrough import Playthrough
from actors.matches.referee import Referee
from actors.matches.reports import Reports
from actors.matches.rules.record import Joined, Left
from actors.matches.voice import MatchVoice
from actors.runtime.errors import Refusal
from actors.runtime.future import Future
from actors.runtime.system_view import SystemView
from protocol.errors import MATCH_ENDED, MATCH_FULL, NOT_JOINED, UNAVAILABLE, UNKNOWN_MATCH
from protocol.messages.match import MatchState


class Seating(Protocol):
    """What `Players` needs of its match."""

    epoch: int

    @property
    def system(self) -> SystemView:
        """The actor system, which has the clock."""

    def check_capacity(self, event: msgspec.Struct) -> None:
        """See `PersistentActor.check_capacity`."""

    def pipe_to_self(self, future: Future[Any], message: Callable[[Future[Any]], Any]) -> None:
        """See `Actor.pipe_to_self`."""

    def follow_up(self, outcome: Outcome) -> None:
        """See `Match.follow_up`."""

    def mind_the_time(self) -> None:
        """See `Match.mind_the_time`."""


class Players:
    """Gives places in a game and takes them back.

    A player is a user, who may be in the match by several sessions. The user keeps the place until
    leaving, or until there has been no session for a while.
    """

    def __init__(
        self,
        match: Seating,
        play: Playthrough,
        here: Attendance,
        *,
        match_log: MatchLog,
        voice: MatchVoice,
        reports: Reports,
    ) -> None:
        self._match = match
        self._play = play
        self._here = here
        self._match_log = match_log
        self._voice = voice
        self._reports = reports
        self._arrivals = Arrivals(match)
        self._leaves = Pending()

    # --- coming ----------------------------------------------------------------------------------

    def join(self, message: Join) -> MatchState | Future[MatchState]:
        """Give the user a place, or let the session in if the user has a place.

        Raises `Refused`, and StoreBusy or Fenced if the join cannot be logged. Nothing has changed
        then.
        """
        referee, who = self._play.playing(), message.who
        refuse_late(message.until, self._match.system.now())
        if not self._here.is_connected(who, message.connection):
            raise Refused(UNAVAILABLE, "the connection is gone")
        if who.user not in self._play.record.places:
            self._give_place(referee, message)
        durable = self._arrivals.durable(who.user)
        if durable is None:
            return self._arrive(message)
        # The session counts as here although it gets no pushes yet, because it may leave or end
        # before the join is durable.
        self._here.attend(who)
        return self._arrivals.wait(durable, message, self._play.record.places[who.user])

    def _give_place(self, referee: Referee, message: Join) -> None:
        play, who = self._play, message.who
        assert play.game is not None
        if len(play.record.places) >= play.game.max_players:
            raise Refused(MATCH_FULL)
        self._here.charge(who, pushes=2)  # one for the join, one for the leave that will follow
        event = Joined(who.user, who.name, play.record.tick)
        self._match.check_capacity(event)
        referee.join(who.user)
        outcome = self._match_log.hear_out(show_to=[*play.record.places, who.user])
        self._arrivals.put(who.user, self._match_log.write(event))
        self._match.follow_up(outcome)
        self._reports.tell()
        self._reports.tell_joined(who.user)

    def arrived(self, message: Arrived) -> None:
        """Answer a join whose place is durable now, unless it has failed."""
        self._arrivals.answer(message, partial(self._arrive_late, message))

    def _arrive_late(self, message: Arrived) -> MatchState:
        who, places = message.join.who, self._play.record.places
        if self._here.player(who.session) != who.user or places.get(who.user) is not message.place:
            raise Refused(NOT_JOINED, "left before the join was durable")
        return self._arrive(message.join)

    def _arrive(self, message: Join) -> MatchState:
        """Let a session get the match's pushes. Its player's place is durable.

        Raises `Refused` if nobody waits for the answer any more.
        """
        play, here, who = self._play, self._here, message.who
        referee = play.playing()
        # By the time of the commit, the client may have given up.
        late = self._match.system.now() >= message.until
        if late or not here.hear(who, message.connection):
            if not here.hears(who.session):
                self.lose(who.session)  # the place is kept for a while
            raise Refused(UNAVAILABLE, "nobody waits for it any more")
        self._match.mind_the_time()
        return self._voice.where_it_stands(play.record, referee, self._match.epoch, who.user)

    def resume(self, message: Resume) -> Resumed:
        """Let a player's session in again, and push to it what it missed. Raises `Refused`."""
        play, who, epoch = self._play, message.who, self._match.epoch
        record, state = play.record, None
        refuse_late(message.until, self._match.system.now())
        if record.created is None:
            raise Refused(UNKNOWN_MATCH)
        if who.user not in record.places:
            raise Refused(NOT_JOINED if record.ended is None else MATCH_ENDED)
        if record.ended is not None:
            state = record.ended.state
        elif play.referee is not None:
            state = play.referee.seen_by(who.user)
            if not self._here.hear(who, message.connection):
                raise Refused(UNAVAILABLE, "the connection is gone")
        told = self._voice.recovered(
            record,
            state,
            epoch,
            missed=play.missed(epoch, message.epoch, message.offset),
            asked=message,
        )
        if record.ended is None:
            self._match.mind_the_time()
        if not told:
            return Resumed.LATER
        return Resumed.MEMBER if record.ended is None else Resumed.OVER

    def adopt(self, message: Adopt) -> None:
        """Take over sessions from the node that the match has been on, and tell them how it stands.

        Raises `Refused` if the match is over; then they learn it when they resume.
        """
        play, epoch = self._play, self._match.epoch
        referee = play.playing()
        adopted = self._here.adopt(message)
        self.dismiss_strangers()
        missed = play.missed(epoch, message.epoch)
        self._voice.restarted(play.record, referee.seen_by, epoch, missed, only=adopted)
        self._match.mind_the_time()

    # --- going -----------------------------------------------------------------------------------

    def dismiss_strangers(self) -> None:
        """Dismiss sessions of users who have no place, as of an incarnation before.

        That one had let them in, and a place that it gave was not logged when it ended.
        """
        for session in self._here.strangers(self._play.record.places):
            self._voice.lost(session)
            self._here.dismiss(session)

    def part(self, message: Part) -> Future[Any] | None:
        """Remove one session. A user's last session gives up the place, unless it is to be kept."""
        session, player = message.who.session, message.who.user
        others = [one for one in self._here.sessions_of(player) if one != session]
        if message.keep_place or others:
            self.lose(session)
            return None
        return self.give_up(session, player)

    def lose(self, session: str) -> None:
        """Remove a session. Its player's place is kept for a while."""
        player = self._here.forget(session)
        if player is not None and player in self._play.record.places and self._play.goes_on:
            self._here.expect(player)
        self._match.mind_the_time()

    def away_too_long(self, player: str) -> None:
        """Give up the place of a player who has not come back.

        Try again later if that cannot be logged.
        """
        try:
            self.give_up(None, player)
        except Refusal:
            self._here.expect(player, RETRY_S)

    def give_up(self, session: str | None, player: str) -> Future[Any] | None:
        """Give up the player's place. It is no error if there is none.

        `session` is the session that asked to leave, if one did. Returns a future that is done when
        the leave is durable, or None if it is.

        Raises StoreBusy or Fenced if the leave cannot be logged. Nothing has changed then.
        """
        play, here = self._play, self._here
        if player not in play.record.places or not play.goes_on:
            if session is not None:
                here.forget(session)
            # This may be the retry of a leave without an answer yet.
            return self._leaves.get(player)
        referee = play.playing()
        event = Left(player, play.record.tick)
        self._match.check_capacity(event)
        referee.leave(player)
        others = [other for other in play.record.places if other != player]
        outcome = self._match_log.hear_out(show_to=others)
        if session is not None:
            here.forget(session)
        here.expect_no_more(player)
        durable = self._match_log.write(event)
        self._leaves.put(player, durable)
        # After the push of the leave, which they get as well.
        for other in here.sessions_of(player):
            self._voice.lost(other)
            here.dismiss(other)
        self._match.follow_up(outcome)
        self._match.mind_the_time()
        self._reports.tell()
        return durable

    # --- the end of this incarnation -------------------------------------------------------------

    def fail(self) -> None:
        """Answer the joins that wait with an error, because this incarnation ends."""
        self._arrivals.fail()
