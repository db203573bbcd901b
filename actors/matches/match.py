"""A match: one game, its players and its clock."""

from __future__ import annotations

import time
import weakref
from types import TracebackType
from typing import Any, ClassVar, Final

import msgspec

from actors.edge.failures import Refused, with_others
from actors.edge.hub_messages import Adopt
from actors.edge.strangers import NobodyElse, Strangers
from actors.edge.topic_messages import (
    ComeBack,
    Join,
    Leave,
    Part,
    Resume,
    Resumed,
    TopicMessage,
)
from actors.edge.warden import guard
from actors.matches.attendance import Attendance
from actors.matches.clock import MatchClock
from actors.matches.faults import GameFaults
from actors.matches.host import MatchHost
from actors.matches.inputs import Inputs
from actors.matches.match_log import MatchLog, Outcome
from actors.matches.messages import (
    Abandoned,
    Arrived,
    AwayTooLong,
    Input,
    MatchReport,
    Over,
    Repeat,
    Rest,
    RollCall,
    Settle,
    StartMatch,
    Tick,
    Unsound,
)
from actors.matches.players import Players
from actors.matches.playthrough import Playthrough
from actors.matches.referee import GameCrashed
from actors.matches.reports import Reports
from actors.matches.rules.record import AnyEvent, Crashed, Created, MatchEvents, Record
from actors.matches.voice import MatchVoice
from actors.runtime.errors import Refusal
from actors.runtime.future import Future
from actors.runtime.handlers import handles
from actors.runtime.messages import Terminated
from actors.runtime.persistence import PersistentActor
from actors.traces import ForgetUser
from protocol.errors import INTERNAL, UNAVAILABLE

LINGER_S: Final = 10.0
"""How long an ended match stays in memory, in seconds, to answer requests that come a little
late."""


class Match(PersistentActor):
    """One match, by the name under which it was entered into the directory.

    A player is a user. A user's sessions may come and go; the user keeps the place until leaving,
    or until there has been no session for `rejoin_within_s`. The game stands still while nobody is
    connected.

    The match takes messages, and its parts do most of the work:

    - `Playthrough`: the game (by its `Referee`), the `Record`, and the recovery of both;
    - `Attendance`: which sessions are here, and how long absent players keep their places;
    - `Players`: how players take places, come back to them and give them up;
    - `Inputs`: what players do;
    - `MatchClock`: when ticks are due;
    - `MatchLog`: which events are logged, and with `MatchVoice`, what is pushed;
    - `Reports`: what the directory says of the match;
    - `GameFaults`: what the operator is told about the game.

    A part knows the match by a Protocol of its own and by a weak reference, so that an ended match
    is freed at once instead of waiting for the garbage collector.
    """

    schema_version: ClassVar[int] = 2
    events: ClassVar[tuple[type[msgspec.Struct], ...]] = MatchEvents
    looks_first: ClassVar[bool] = True  # clients ask for matches that never were, too

    def __init__(self, host: MatchHost, name: str) -> None:
        super().__init__()
        self._host = host
        self._name = name
        me = weakref.proxy(self)
        counters, settings = host.counters, host.settings
        self._faults = GameFaults(me, name, counters)
        self._play = play = Playthrough(
            name, host.game_of(name), settings, self._faults.note_held_up
        )
        self._voice = voice = MatchVoice(
            host.topics, name, tick_hz=play.tick_hz, private_views=play.private_views
        )
        self._attendance = here = Attendance(me, voice.topic, host.topics, settings)
        self._match_log = MatchLog(me, play, voice, counters)
        self._reports = Reports(host.standing, name, play)
        self._players = Players(
            me, play, here, match_log=self._match_log, voice=voice, reports=self._reports
        )
        self._strangers = Strangers(me, host.topics)
        self._inputs = Inputs(me, play, here, counters, self._match_log)
        self._clock = MatchClock(
            me,
            play.tick_hz,
            catch_up=settings.catch_up_ticks,
            spread=host.spread,
            counters=counters,
        )
        self._made: Future[Any] | None = None  # done once the first event is durable
        self._live = False  # whether events are new ones, which the game has acted on already

    @property
    def record(self) -> Record:
        """The record of the match, made from its events."""
        return self._play.record

    @property
    def goes_on(self) -> bool:
        """Whether it has not ended. Its end may not be in the log yet."""
        return self._play.goes_on

    @property
    def sessions(self) -> Attendance:
        """The sessions that are here."""
        return self._attendance

    # --- state -----------------------------------------------------------------------------------

    def apply(self, event: AnyEvent) -> None:
        if self._live:
            self._play.note(event, self.event_epoch)
        else:
            self._play.replay(event, self.event_epoch)

    def snapshot(self) -> Any:
        try:
            return self._play.snapshot()
        except GameCrashed as error:
            if self._live and not (error.returned and self._play.is_in_its_log):
                # The runtime goes on when a snapshot fails. A match must not: its next crash would
                # set it back further than it may. The exception is a match whose log has every
                # input. It can be replayed from the log, and if it failed here, it would come back
                # the same and fail again until it ended.
                self.start_timer(0.0, Unsound(self.epoch, str(error)), name="unsound")
            raise

    def restore(self, state: Any, schema: int) -> None:
        self._play.restore(state, schema)

    def state_is_sound(self) -> bool:
        return self._play.sound and super().state_is_sound()

    # --- beginning -------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Go on with the players that the hub knows from the incarnation before."""
        self._live = True
        play, record = self._play, self.record
        play.recovered(self.snapshot_ignored)
        if record.created is None:
            self.start_timer(0.0, Rest(), name="rest")  # a StartMatch cancels this
            return
        guard(self.system, self.actor_ref)
        before = self._attendance.take_up()
        if record.ended is not None:
            if record.agreed(before) != record.offset:  # the players have not been told of the end
                ended, missed = record.ended.state, play.missed(self.epoch, before)
                self._voice.restarted(record, lambda _: ended, self.epoch, missed)
            self.start_timer(0.0, Over(), name="over")  # a timer, since the mailbox may be full
            return
        if play.broken is not None:
            self.log.error("match_failed", game=record.created.game, reason=play.broken)
            self._end("failed")
            return
        self._players.dismiss_strangers()
        if self._attendance and play.referee is not None:
            # These players were here before this incarnation, so the match has crashed.
            missed = play.missed(self.epoch, before)
            self._voice.restarted(record, play.referee.seen_by, self.epoch, missed)
        for player in record.places:
            self._attendance.expect(player)
        self._strangers.expect()
        self._reports.tell()
        self.follow_up(self._match_log.hear_out())
        self.mind_the_time()

    @handles(ComeBack)
    def come_back(self, _: ComeBack) -> None:
        """Do nothing: the start of this actor has told the players."""

    # --- for the directory -----------------------------------------------------------------------

    @handles(RollCall)
    def roll_call(self, _message: RollCall) -> None:
        """Report to the directory."""
        self._reports.tell()

    @handles(StartMatch)
    def start_match(self, message: StartMatch) -> Any:
        """Create the match, or report if it exists. Returns a `MatchReport` or a future of one.

        Raises `Refused` if the game does not accept the params, or crashes.
        """
        if self.record.created is not None:
            if self._made is not None and not self._made.done:
                return with_others(self._made)
            return self._reports.tell()
        created = Created(message.game, message.params, message.seed, message.at)
        try:
            self._play.begin(created)
        except Refused:
            self._refused()
            raise
        except GameCrashed as error:  # nothing exists yet, so a restart would have nothing to mend
            self._faults.note_crash(error, 0)
            self._refused()
            raise Refused(INTERNAL) from error
        return self._create(created) if self.epoch else self._create_first(created)

    async def _create_first(self, created: Created) -> Any:
        """Begin an epoch once the game has accepted, so that a refused match leaves nothing
        behind.
        """
        await self.activate()
        return self._create(created)

    def _create(self, created: Created) -> Any:
        durable = self._made = self.persist(created, MatchReport(self._name, 0))
        self.pipe_to_self(durable, lambda _: RollCall())
        guard(self.system, self.actor_ref)
        self.cancel_timer("rest")
        self.mind_the_time()
        return durable

    def _refused(self) -> None:
        self._reports.tell_refused()
        self.start_timer(0.0, Rest(), name="rest")

    # --- time ------------------------------------------------------------------------------------

    @handles(Tick, local=True)
    def tick(self, _message: Tick) -> None:
        """Run the ticks that are due, then push the state once."""
        play, clock = self._play, self._clock
        referee = play.referee
        if referee is None:
            return
        due = clock.take_due(self.system.now())
        for _ in range(due):
            began = time.perf_counter()
            play.tick(referee)
            clock.note_tick(time.perf_counter() - began)
            play.listen(referee)
            if not play.goes_on:
                break
        if due:
            self.mark_dirty()
            self._show()

    def mind_the_time(self) -> None:
        """Let the clock run while the game is on and somebody is here, else wait to be
        abandoned.
        """
        play, here = self._play, self._attendance
        if play.goes_on and play.record.started and here:
            self._clock.start(self.system.now())
        else:
            self._clock.stand_still()
        if play.goes_on:
            here.expect_anyone(unjoined=play.record.unjoined)
        else:
            here.expect_nobody()

    @handles(Settle, local=True)
    def settle(self, _message: Settle) -> None:
        """Try again to log what the log had no room for."""
        self._show()

    def _show(self) -> None:
        self.follow_up(self._match_log.hear_out(show_to=self.record.places))

    def follow_up(self, outcome: Outcome) -> None:
        """Log and push what a step caused, as far as the log has room for it."""
        self._match_log.follow_up(outcome)
        if not self._play.goes_on:
            self.mind_the_time()

    # --- players ---------------------------------------------------------------------------------

    @handles(Join)
    def join(self, message: Join) -> Any:
        """Give the user a place, or let the user's session in if the user has a place."""
        self._strangers.keep_order(message)
        answer = self._players.join(message)
        self._strangers.known((message.who.session,))
        return answer

    @handles(Arrived, local=True)
    def arrived(self, message: Arrived) -> None:
        """Answer a join whose place is durable now."""
        self._players.arrived(message)

    @handles(Resume)
    def resume(self, message: Resume) -> Resumed:
        """Let the player's session in again, and push what it missed."""
        self._strangers.keep_order(message)
        resumed = self._players.resume(message)
        self._strangers.known((message.who.session,))
        return resumed

    @handles(Adopt)
    def adopt(self, message: Adopt) -> None:
        """Take over sessions from the node that the match has been on."""
        self._players.adopt(self._strangers.unknown(message))
        self._strangers.known([one.who.session for one in message.members])

    @handles(NobodyElse, local=True)
    def nobody_else(self, _: NobodyElse) -> None:
        """Answer those who were not named as here."""
        self._strangers.nobody_else()

    @handles(Leave)
    def leave(self, message: Leave) -> Any:
        """Give up the user's place. It is no error if there is none."""
        self._wait_to_know(message)
        return self._players.give_up(message.who.session, message.who.user)

    @handles(Part)
    def part(self, message: Part) -> Any:
        """Remove one session. A user's last session gives up the place, unless it is to be kept."""
        self._wait_to_know(message)
        return self._players.part(message)

    def _wait_to_know(self, message: TopicMessage) -> None:
        if message.who.session not in self._attendance:
            self._strangers.wait(message)

    @handles(Terminated, local=True)
    def session_ended(self, message: Terminated) -> None:
        """Remove a session that has ended. Its player's place is kept for a while."""
        self._players.lose(message.ref.key)

    @handles(AwayTooLong, local=True)
    def away_too_long(self, message: AwayTooLong) -> None:
        """Give up the place of a player who did not come back in time."""
        self._players.away_too_long(message.player)

    @handles(Input)
    def input(self, message: Input) -> Any:
        """Let a player's input act, once for each `seq`, and answer it."""
        before = self._inputs.answered(message)
        return self._inputs.accept(message) if before is None else before

    @handles(Repeat)
    def repeat(self, message: Repeat) -> Any:
        """Answer an input like the first time, for a session that is not in the match any more."""
        self._wait_to_know(message)
        return self._inputs.repeat(message)

    # --- the end ---------------------------------------------------------------------------------

    @handles(Abandoned, local=True)
    def abandoned(self, _message: Abandoned) -> None:
        """End the match if nobody is here, because nobody came back in time."""
        if not self._attendance and self._play.goes_on:
            self._end("abandoned")

    def _end(self, reason: str) -> None:
        self._play.end(reason)
        self.follow_up(self._match_log.hear_out())

    @handles(Over, local=True)
    def over(self, _message: Over) -> None:
        """Have the match removed from the directory, and keep only its log.

        The end is durable now.
        """
        self._attendance.dismiss_all()
        self._play.put_away()
        self.discard_snapshot()
        self._reports.tell()
        self.start_timer(LINGER_S, Rest(), name="rest")

    @handles(Rest, local=True)
    def rest(self, _message: Rest) -> None:
        """Leave memory. A later request starts the actor again, which then reads its log."""
        self.passivate()

    @handles(ForgetUser)
    def forget_user(self, message: ForgetUser) -> None:
        """Take a player's name out of memory and of the snapshot. The log is without it already.

        Raises:
            Refused: UNAVAILABLE: the game does not say its state, so the old snapshot is left.
        """
        if not self.record.forget_name(message.user) and not message.stored:
            return
        if self.record.created is None or self.record.ended is not None:
            self.discard_snapshot()  # it needs none
        elif not self.renew_snapshot():
            raise Refused(UNAVAILABLE, "the game has no snapshot")

    # --- failing, and stopping -------------------------------------------------------------------

    @handles(Unsound, local=True)
    def unsound(self, message: Unsound) -> None:
        """Fail, so that the next incarnation goes back to the last snapshot."""
        assert self.record.created is not None
        raise GameCrashed(self.record.created.game, "snapshot", message.error)

    def on_failure(
        self,
        exception_type: type[BaseException] | None,  # noqa: ARG002 - Pykka's hook
        exception_value: BaseException | None,
        traceback: TracebackType | None,  # noqa: ARG002
    ) -> None:
        if isinstance(exception_value, GameCrashed):
            self._play.note_crash()
            self._faults.note_crash(exception_value, self.record.tick)
            if self._live and self.record.created is not None and self.record.ended is None:
                try:
                    self.persist(Crashed(self.record.tick, str(exception_value)[:1000]))
                except Refusal as refusal:  # the log has no room, so the crash is not counted
                    self.log.warning("crash_not_recorded", reason=str(refusal))
        self._let_go()

    def on_stop(self) -> None:
        self._let_go()

    def _let_go(self) -> None:
        self._live = False
        self._reports.fall_silent()
        self._players.fail()
