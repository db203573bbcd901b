"""A match: one game, its players and its clock."""

from __future__ import annotations

import time
import weakref
from types import TracebackType
from typing import Any, ClassVar, Final

import msgspec

from actors.edge.failures import Refused
from actors.edge.topic_messages import ComeBack, Join, Leave, Part, Resume, Resumed
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
    Disown,
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
from actors.runtime.handlers import handles
from actors.runtime.messages import Terminated
from actors.runtime.persistence import PersistentActor
from protocol.errors import INTERNAL

LINGER_S: Final = 10.0
"""How long an ended match stays in memory, to answer those who come a little late."""


class Match(PersistentActor):
    """One match, by the name that the directory gave it.

    A player is a user. Sessions come and go; the place is kept until the user leaves, or has been
    without a session for `rejoin_within_s`. The game stands still while nobody is connected.

    The match takes messages, does what only an actor can, and has its parts do the rest:

    - `Playthrough`: the game, by its `Referee`, and its `Record`; how both come back;
    - `Attendance`: which players are here, by which sessions; how long those who are not may come;
    - `Players`: how they take places, come back to them and give them up;
    - `Inputs`: what they do;
    - `MatchClock`: when ticks are due;
    - `MatchLog`: what is written and pushed of a step, by the `MatchVoice`;
    - `Reports`: what the directory hears; `GameFaults`: what the operator hears of the game.

    A part knows the match by a protocol of its own, and by a weak reference: an ended match is
    freed at once, and not found by the collector some day.
    """

    schema_version: ClassVar[int] = 2
    events: ClassVar[tuple[type[msgspec.Struct], ...]] = MatchEvents
    looks_first: ClassVar[bool] = True  # anyone may ask for a match of any name

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
        self._reports = Reports(me, name, play)
        self._players = Players(
            me, play, here, match_log=self._match_log, voice=voice, reports=self._reports
        )
        self._inputs = Inputs(me, play, here, counters, self._match_log)
        self._clock = MatchClock(
            me,
            play.tick_hz,
            catch_up=settings.catch_up_ticks,
            spread=host.spread,
            counters=counters,
        )
        self._live = False  # recovered and not failed or stopped: new events have acted already

    @property
    def record(self) -> Record:
        """What is known of it."""
        return self._play.record

    @property
    def sessions(self) -> Attendance:
        """Those that are here."""
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
                # The runtime goes on without a snapshot; a match must not, or its next crash would
                # cost more than it may. One that is in its log to the last input goes on, too: it
                # would come back the same, until an input that spoils the snapshot had ended it.
                self.start_timer(0.0, Unsound(self.epoch, str(error)), name="unsound")
            raise

    def restore(self, state: Any, schema: int) -> None:
        self._play.restore(state, schema)

    def state_is_sound(self) -> bool:
        return self._play.sound and super().state_is_sound()

    # --- beginning -------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Take up the players whom the hub knows from the incarnation before, and go on."""
        self._live = True
        play, record = self._play, self.record
        play.recovered(self.snapshot_ignored)
        if record.created is None:
            self.start_timer(0.0, Rest(), name="rest")  # unless the directory creates it now
            return
        guard(self.system, self.actor_ref)
        before = self._attendance.take_up()
        if record.ended is not None:
            if record.agreed(before) != record.offset:  # it ended elsewhere, and they do not know
                ended, missed = record.ended.state, play.missed(self.epoch, before)
                self._voice.restarted(record, lambda _: ended, self.epoch, missed)
            self.start_timer(0.0, Over(), name="over")  # told, it could find the mailbox full
            return
        if play.broken is not None:
            self.log.error("match_failed", game=record.created.game, reason=play.broken)
            self._end("failed")
            return
        if self._attendance and play.referee is not None:
            # They were here before this incarnation, so it is one after a crash.
            missed = play.missed(self.epoch, before)
            self._voice.restarted(record, play.referee.seen_by, self.epoch, missed)
        for player in record.places:
            self._attendance.expect(player)
        self.follow_up(self._match_log.hear_out())
        self.mind_the_time()

    @handles(ComeBack)
    def come_back(self, _: ComeBack) -> None:
        """Its start has told the players."""

    # --- what the directory asks -----------------------------------------------------------------

    @handles(RollCall)
    def roll_call(self, _message: RollCall) -> None:
        """Say how it stands."""
        self._reports.tell()

    @handles(StartMatch)
    def start_match(self, message: StartMatch) -> Any:
        """Create the match, or say how it stands."""
        if self.record.created is not None:
            return self._reports.tell()
        created = Created(message.game, message.params, message.seed, message.at)
        try:
            self._play.begin(created)
        except Refused:
            self._refused()
            raise
        except GameCrashed as error:  # nothing came to be, so that there is nothing to go back to
            self._faults.note_crash(error, 0)
            self._refused()
            raise Refused(INTERNAL) from error
        return self._create(created) if self.epoch else self._create_first(created)

    async def _create_first(self, created: Created) -> Any:
        """Take an epoch now that the game has accepted: a match that it refuses leaves nothing."""
        await self.activate()
        return self._create(created)

    def _create(self, created: Created) -> Any:
        durable = self.persist(created, MatchReport(self._name, 0))
        self.pipe_to_self(durable, lambda _: RollCall())
        guard(self.system, self.actor_ref)
        self.cancel_timer("rest")
        self.mind_the_time()
        return durable

    def _refused(self) -> None:
        self._reports.tell_refused()
        self.start_timer(0.0, Rest(), name="rest")

    # --- time ------------------------------------------------------------------------------------

    @handles(Tick)
    def tick(self, _message: Tick) -> None:
        """Run the ticks that are due, then show the state once."""
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
        """Tick while the game is on and somebody is there, and wait for them for a while."""
        play, here = self._play, self._attendance
        if play.goes_on and play.record.started and here:
            self._clock.run(self.system.now())
        else:
            self._clock.stand_still()
        if play.goes_on:
            here.expect_anyone(unjoined=play.record.unjoined)
        else:
            here.expect_nobody()

    @handles(Settle)
    def settle(self, _message: Settle) -> None:
        """The log had no room; by now it may have."""
        self._show()

    def _show(self) -> None:
        self.follow_up(self._match_log.hear_out(show_to=self.record.places))

    def follow_up(self, outcome: Outcome) -> None:
        """Log and push what a step has brought about, as far as the log has room for it."""
        self._match_log.follow_up(outcome)
        if not self._play.goes_on:
            self.mind_the_time()

    # --- players ---------------------------------------------------------------------------------

    @handles(Join)
    def join(self, message: Join) -> Any:
        """Give the user a place, or the place that is the user's already."""
        return self._players.join(message)

    @handles(Arrived)
    def arrived(self, message: Arrived) -> None:
        """The place that a join took is durable."""
        self._players.arrived(message)

    @handles(Resume)
    def resume(self, message: Resume) -> Resumed:
        """Attach the player's session again, and tell it what it missed."""
        return self._players.resume(message)

    @handles(Leave)
    def leave(self, message: Leave) -> Any:
        """Give up the user's place. Harmless for one that has none."""
        return self._players.give_up(message.who.session, message.who.user)

    @handles(Part)
    def part(self, message: Part) -> Any:
        """Let one session go; with a user's last one the place, unless it is to be kept."""
        return self._players.part(message)

    @handles(Terminated)
    def session_ended(self, message: Terminated) -> None:
        """Keep the player's place for a while."""
        self._players.lose(message.ref.key)

    @handles(AwayTooLong)
    def away_too_long(self, message: AwayTooLong) -> None:
        """The player did not come back in time."""
        self._players.away_too_long(message.player)

    @handles(Input)
    def input(self, message: Input) -> Any:
        """Let a player's input act, once for each `seq`."""
        before = self._inputs.answered(message)
        return self._inputs.take(message) if before is None else before

    @handles(Repeat)
    def repeat(self, message: Repeat) -> Any:
        """Answer an input as the first time: its sender is not here any more."""
        return self._inputs.repeat(message)

    # --- the end ---------------------------------------------------------------------------------

    @handles(Abandoned, Disown)
    def abandoned(self, _message: Abandoned | Disown) -> None:
        """End: nobody came back, or nobody will come."""
        if self.record.created is None:
            self.start_timer(0.0, Rest(), name="rest")
        elif not self._attendance and self._play.goes_on:
            self._end("abandoned")

    def _end(self, reason: str) -> None:
        self._play.end(reason)
        self.follow_up(self._match_log.hear_out())

    @handles(Over)
    def over(self, _message: Over) -> None:
        """The end is durable: tell the directory, and keep nothing but the log."""
        self._attendance.dismiss_all()
        self._play.put_away()
        self.discard_snapshot()
        self._reports.tell()
        self.start_timer(LINGER_S, Rest(), name="rest")

    @handles(Rest)
    def rest(self, _message: Rest) -> None:
        """Leave memory; a late question brings an ended match back from its log."""
        self.passivate()

    # --- failing, and stopping -------------------------------------------------------------------

    @handles(Unsound)
    def unsound(self, message: Unsound) -> None:
        """Go back to the last snapshot there is."""
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
                except Refusal as refusal:  # a full store: the crash is not counted
                    self.log.warning("crash_not_recorded", reason=str(refusal))
        self._let_go()

    def on_stop(self) -> None:
        self._let_go()

    def _let_go(self) -> None:
        self._live = False
        self._players.fail()
