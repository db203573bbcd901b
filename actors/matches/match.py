"""A match: one game, its players and its clock."""

from __future__ import annotations

from functools import partial
from types import TracebackType
from typing import Any

import msgspec

from actors.edge.failures import Refused, refuse_late, with_others
from actors.edge.topic_messages import ComeBack, Join, Leave, Part, Resume
from actors.edge.warden import guard
from actors.matches.host import MatchHost
from actors.matches.messages import (
    Arrived,
    AwayTooLong,
    Input,
    MatchReport,
    Over,
    Repeat,
    Rest,
    RollCall,
    StartMatch,
)
from actors.matches.pending import Pending
from actors.matches.referee import GameCrashed, Referee
from actors.matches.rules.record import Created, Joined, Left, Moved, Place, Said
from actors.matches.rules.register import REFUSED
from actors.matches.running import RETRY_S, RunningMatch
from actors.runtime.errors import Refusal, bare
from actors.runtime.future import Future
from actors.runtime.handlers import handles
from actors.runtime.kinds import Kind
from actors.runtime.mailbox import MailboxSpec
from actors.runtime.messages import Terminated
from protocol.errors import (
    ERRORS,
    INTERNAL,
    MATCH_ENDED,
    MATCH_FULL,
    NOT_JOINED,
    REJECTED,
    SEQ_TOO_OLD,
    UNAVAILABLE,
    UNKNOWN_MATCH,
)
from protocol.messages.match import InputTaken, MatchState


class Match(RunningMatch):
    """One match, by the name that the directory gave it.

    A player is a user. Sessions come and go; the place is kept until the user leaves, or has been
    without a session for `rejoin_within_s`. The game stands still while nobody is connected.
    """

    looks_first = True  # anyone may ask for a match of any name

    def __init__(self, host: MatchHost, name: str) -> None:
        super().__init__(host, name)
        self._joins = Pending()
        self._arriving: set[Future[Any]] = set()  # answers to joins that are not durable yet
        self._leaves = Pending()
        self._moves = Pending()

    def on_start(self) -> None:
        """Take up the players whom the hub knows from the incarnation before, and go on."""
        self.live = True
        record = self.record
        if record.created is None:
            self.start_timer(0.0, Rest(), name="rest")  # unless the directory creates it now
            return
        guard(self.system, self.actor_ref)
        for listener in self.host.topics.members(self.topic):
            self._attend(listener.who.session, listener.who.user)
        before = self.host.topics.take_over(self.topic, self.epoch)
        if record.ended is not None:
            self.ending = (record.ended.reason, record.ended.result)
            if record.agreed(before) != record.offset:  # it ended elsewhere, and they do not know
                ended = record.ended.state
                self.voice.restarted(record, lambda _: ended, self.epoch, self._missed(before))
            self.start_timer(0.0, Over(), name="over")  # told, it could find the mailbox full
            return
        if self.broken is None:
            self.broken = self.state_lost()
        if self.broken is None and record.crashes >= self.host.settings.max_crashes:
            self.broken = f"crashed {record.crashes} times in a row"
        if self.broken is not None:
            self.log.error("match_failed", game=record.created.game, reason=self.broken)
            self.end("failed", None)
            return
        if self.sessions and self.referee is not None:
            # They were here before this incarnation, so it is one after a crash.
            self.voice.restarted(record, self.referee.seen_by, self.epoch, self._missed(before))
        for player in record.places:
            self._expect(player)
        self.after_step()
        self.mind_the_clock()

    @handles(ComeBack)
    def come_back(self, _: ComeBack) -> None:
        """Its start has told the players."""

    def _playing(self) -> Referee:
        """The game of a match that goes on. Raises `Refused`."""
        if self.record.created is None:
            raise Refused(UNKNOWN_MATCH)
        if self.ending is not None or self.referee is None:
            raise Refused(MATCH_ENDED)
        return self.referee

    # --- the directory ---------------------------------------------------------------------------

    @handles(StartMatch)
    def start_match(self, message: StartMatch) -> Any:
        """Create the match, or say how it stands."""
        if self.record.created is not None:
            return self.report()
        created = Created(message.game, message.params, message.seed, message.at)
        try:
            self.referee = self.new_referee(created)
        except Refused:
            self._refused()
            raise
        except GameCrashed as error:  # nothing came to be, so that there is nothing to go back to
            self.note_crash(error)
            self._refused()
            raise Refused(INTERNAL) from error
        return self._create(created) if self.epoch else self._create_first(created)

    async def _create_first(self, created: Created) -> Any:
        """Take an epoch now that the game has accepted: a match that it refuses leaves nothing."""
        await self.activate()
        return self._create(created)

    def _create(self, created: Created) -> Any:
        durable = self.persist(created, MatchReport(self.name, 0))
        self.pipe_to_self(durable, lambda _: RollCall())
        guard(self.system, self.actor_ref)
        self.cancel_timer("rest")
        self.mind_the_clock()
        return durable

    def _refused(self) -> None:
        self.tell_directory(MatchReport(self.name, 0, REFUSED))  # one that listed it asks for ever
        self.start_timer(0.0, Rest(), name="rest")

    @handles(RollCall)
    def roll_call(self, _message: RollCall) -> None:
        """Say how it stands."""
        if self.record.created is None:
            self.tell_directory(MatchReport(self.name, 0, "unknown"))
        else:
            self.report()

    # --- players come ----------------------------------------------------------------------------

    @handles(Join)
    def join(self, message: Join) -> Any:
        """Give the user a place, or the place that is the user's already."""
        referee, player = self._playing(), message.who.user
        refuse_late(message.until, self.system.now())
        if not self.host.topics.is_current(message.who.session, message.connection):
            raise Refused(UNAVAILABLE, "the connection is gone")
        if player not in self.record.places:
            assert self.game is not None
            if len(self.record.places) >= self.game.max_players:
                raise Refused(MATCH_FULL)
            self.host.topics.charge(self.topic, message.who.session, pushes=2)  # and when it leaves
            event = Joined(player, message.who.name, self.record.tick)
            self.check_room(event)
            referee.join(player)
            referee.seen_by(player)  # what cannot be encoded fails here, in the actor's own turn
            self._joins.put(player, self.log_and_push(event))
            self.after_step(show=True)
            self.report()
        durable = self._joins.get(player)
        if durable is None:
            return self._arrive(message)
        # The session counts as here, though it hears nothing yet: it may go before the join is
        # durable.
        self._attend(message.who.session, player)
        return self._once_arrived(durable, message)

    def _once_arrived(self, durable: Future[Any], message: Join) -> Future[Any]:
        """The answer to a join that is not durable yet. A step of its own, so that a game which
        crashes in it fails the match.
        """
        answer: Future[Any] = Future()
        self._arriving.add(answer)
        place = self.record.places[message.who.user]
        durable.on_done(partial(_tell_failure, answer))  # also if this incarnation is gone by then
        self.pipe_to_self(durable, lambda _: Arrived(message, place, answer))
        return answer

    @handles(Arrived)
    def arrived(self, message: Arrived) -> None:
        """Answer a join that is durable now, if it has not failed."""
        join, answer = message.join, message.answer
        if not answer.done:
            try:
                here = self.sessions.get(join.who.session) == join.who.user
                if not here or self.record.places.get(join.who.user) is not message.place:
                    raise Refused(NOT_JOINED, "left before the join was durable")
                answer.set(self._arrive(join))
            except Refusal as refusal:
                answer.set_exception(bare(refusal))
        self._arriving.discard(answer)

    def _arrive(self, message: Join) -> MatchState:
        """Let a session hear the match. Its player's place is durable."""
        referee, topics, session = self._playing(), self.host.topics, message.who.session
        late = self.system.now() >= message.until  # the commit came after who asked had given up
        if late or not topics.subscribe(self.topic, session, message.connection, self.epoch):
            if not topics.is_member(self.topic, session):
                self._absent(session)
            raise Refused(
                UNAVAILABLE, "nobody waits for it any more"
            )  # the place is kept for a while
        self._attend(session, message.who.user)
        self.mind_the_clock()
        return self.voice.where_it_stands(self.record, referee, self.epoch, message.who.user)

    def _fail_arriving(self) -> None:
        """Those whose join is not answered are told now: this incarnation will not."""
        for answer in self._arriving:
            answer.settle_quietly(error=Refused(UNAVAILABLE, "the match is restarting"))
        self._arriving.clear()

    @handles(Resume)
    def resume(self, message: Resume) -> bool:
        """Attach the player's session again, and tell it what it missed."""
        record, state = self.record, None
        refuse_late(message.until, self.system.now())
        if record.created is None:
            raise Refused(UNKNOWN_MATCH)
        if message.who.user not in record.places:
            raise Refused(NOT_JOINED if record.ended is None else MATCH_ENDED)
        if record.ended is not None:
            state = record.ended.state
        elif self.referee is not None:
            state = self.referee.seen_by(message.who.user)
            if not self.host.topics.subscribe(
                self.topic, message.who.session, message.connection, self.epoch
            ):
                raise Refused(UNAVAILABLE, "the connection is gone")
            self._attend(message.who.session, message.who.user)
        self.voice.recovered(
            record,
            state,
            self.epoch,
            missed=self._missed(message.epoch, message.offset),
            session=message.who.session,
            connection=message.connection,
            offset=message.offset,
        )
        if record.ended is None:
            self.mind_the_clock()
        return record.ended is None

    def _missed(self, epoch: int, offset: int | None = None) -> list[Said] | None:
        """What was said since a position, by the record; None also if that is very long. Without an
        offset: since the last offset that is still true of what the incarnation `epoch` said.
        """
        record = self.record
        if offset is None:
            offset = record.agreed(epoch)
        if offset is None or epoch > self.epoch:  # forgotten, or ahead of us
            return None
        missed = record.missed(epoch, offset)
        if missed and len(msgspec.json.encode(missed)) > self.host.settings.value_bytes:
            return None
        return missed

    def _attend(self, session: str, player: str) -> None:
        self.sessions[session] = player
        self.watch(self.system.ref("session", session))
        self.cancel_timer(f"away:{player}")

    def _expect(self, player: str, within_s: float | None = None) -> None:
        """Keep the place of a player without a session, for a while."""
        if player not in self.sessions.values():
            delay_s = self.host.settings.rejoin_within_s if within_s is None else within_s
            self.start_timer(delay_s, AwayTooLong(self.epoch, player), name=f"away:{player}")

    # --- players go ------------------------------------------------------------------------------

    @handles(Leave)
    def leave(self, message: Leave) -> Any:
        """Give up the user's place. Harmless for one that has none."""
        return self._give_up(message.who.session, message.who.user)

    @handles(Part)
    def part(self, message: Part) -> Any:
        """Let one session go; with a user's last one the place, unless it is to be kept."""
        session, player = message.who.session, message.who.user
        others = any(who == player for one, who in self.sessions.items() if one != session)
        if message.keep_place or others:
            return self._absent(session)
        return self._give_up(session, player)

    @handles(Terminated)
    def session_ended(self, message: Terminated) -> None:
        """Keep the player's place for a while."""
        self._absent(message.ref.key)

    def _absent(self, session: str) -> None:
        """The session is not here any more, and its player's place is kept for a while."""
        player = self.forget(session)
        if player in self.record.places and self.ending is None:
            self._expect(player)
        self.mind_the_clock()

    @handles(AwayTooLong)
    def away_too_long(self, message: AwayTooLong) -> None:
        """The player did not come back in time."""
        try:
            self._give_up(None, message.player)
        except Refusal:
            self._expect(message.player, RETRY_S)

    def _give_up(self, session: str | None, player: str) -> Future[Any] | None:
        """Give up the player's place, by the word of this session if it was one's.

        Nothing has changed when the log has no room for it; it raises that.
        """
        if player not in self.record.places or self.ending is not None:
            if session is not None:
                self.forget(session)
            return self._leaves.get(player)  # of a leave that was not answered in time
        referee = self._playing()
        event = Left(player, self.record.tick)
        self.check_room(event)
        referee.leave(player)
        if session is not None:
            self.forget(session)
        self.cancel_timer(f"away:{player}")
        durable = self.log_and_push(event)
        self._leaves.put(player, durable)
        for other in [one for one, who in self.sessions.items() if who == player]:
            self.lose(other)  # now that it has heard of it
        self.after_step(show=True)
        self.mind_the_clock()
        self.report()
        return durable

    # --- inputs ----------------------------------------------------------------------------------

    @handles(Input)
    def input(self, message: Input) -> Any:
        """Let a player's input act, once for each `seq`."""
        record, player = self.record, message.who.user
        place = record.places.get(player)
        if place is not None and message.seq <= place.seq:  # also when it has ended the match
            return self._first_answer(place, message)
        referee = self._playing()
        if place is None:
            raise Refused(NOT_JOINED)
        if record.started and not self.tick_hz:  # each input is shown to everyone
            self.host.topics.charge(self.topic, message.who.session)
        taken = InputTaken(record.tick + 1, self.durable_inputs)
        if self.durable_inputs:
            event = Moved(player, message.seq, message.input, taken.tick)
            self.check_room(event)
            self._judge(referee, message)
            self._moves.put(player, self.persist(event))
            self._after_input()
        else:
            self._judge(referee, message)
            record.answer(player, message.seq, message.input, taken.tick)
            if not self.tick_hz:
                record.tick = taken.tick
            self.mark_dirty()
            self._after_input()
        return self._once_durable(player, taken)

    def _judge(self, referee: Referee, message: Input) -> None:
        # What the game says of an input, no as well as yes, is said once for its seq. Whatever else
        # keeps an input from the game (no room in the log, no answer in time) leaves its seq free.
        try:
            if not self.record.started:
                raise Refused(REJECTED, "the match waits for players")
            referee.input(message.who.user, message.input)
        except Refused as refused:
            said = refused.error.code
            self.record.answer(message.who.user, message.seq, message.input, said)
            self.mark_dirty()
            raise

    @handles(Repeat)
    def repeat(self, message: Repeat) -> Any:
        """Answer an input as the first time: its sender is not here any more."""
        place = self.record.places.get(message.who.user)
        if place is None or (
            self.record.ended is None and message.who.session not in self.sessions
        ):
            raise Refused(NOT_JOINED)
        if message.seq > place.seq:
            raise Refused(NOT_JOINED if self.record.ended is None else MATCH_ENDED)
        return self._first_answer(place, message)

    def _first_answer(self, place: Place, message: Input | Repeat) -> Any:
        said = place.answered(message.seq, message.input)
        if said is None:
            raise Refused(SEQ_TOO_OLD, f"seq: must be above {place.seq}")
        if isinstance(said, str):
            raise Refused(ERRORS[said])
        taken = InputTaken(said, self.durable_inputs)
        return self._once_durable(message.who.user, taken)

    def _after_input(self) -> None:
        self.host.counters.inputs += 1
        if not self.tick_hz:
            self.after_step(show=True)

    def _once_durable(self, player: str, taken: InputTaken) -> InputTaken | Future[InputTaken]:
        """`taken` once the player's last input is committed; at once if it is, or never will be."""
        durable = self._moves.get(player)
        return taken if durable is None else with_others(durable).map(lambda _: taken)

    # --- its end ---------------------------------------------------------------------------------

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().on_failure(exception_type, exception_value, traceback)
        self._fail_arriving()

    def on_stop(self) -> None:
        super().on_stop()
        self._fail_arriving()


def _tell_failure(answer: Future[Any], done: Future[Any]) -> None:
    if (error := done.exception()) is not None:
        answer.settle_quietly(error=error)


class VolatileMatch(Match):
    """Of a game with state that no event holds: recovery needs the snapshot, and a recent one."""

    needs_snapshot = True


class MatchFactory:
    """Makes a match by its name, which says which game it is before any state was read."""

    def __init__(self, host: MatchHost) -> None:
        self._host = host
        spec = MailboxSpec(capacity=host.settings.mailbox)

        class ConfiguredMatch(Match):
            mailbox = spec

        class ConfiguredVolatileMatch(VolatileMatch):
            mailbox = spec
            snapshot_interval_s = host.settings.snapshot_interval_s

        self._durable = ConfiguredMatch
        self._volatile = ConfiguredVolatileMatch

    def __call__(self, name: str) -> Match:
        game = self._host.game_of(name)
        durable = game is None or game.durable_inputs
        return (self._durable if durable else self._volatile)(self._host, name)


def match_kind(host: MatchHost) -> Kind:
    """Return the kind for `ActorSystem.register`."""
    # A match ends by itself, as failed, before its kind gives up on it.
    return Kind(
        name="match",
        factory=MatchFactory(host),
        max_restarts=host.settings.max_crashes + 2,
        shutdown_s=5.0,
    )
