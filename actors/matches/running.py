"""The part of a match that moves: its ticks, what follows from each step, and its end."""

from __future__ import annotations

import contextlib
import time
from typing import Any, Final

from pykka import ActorDeadError

from actors.edge.topic_messages import TopicGone
from actors.matches.host import MatchHost
from actors.matches.messages import (
    DIRECTORY,
    Abandoned,
    Disown,
    MatchReport,
    Over,
    Rest,
    Settle,
    Tick,
    match_topic,
)
from actors.matches.recorded import RecordedMatch
from actors.matches.referee import Referee
from actors.matches.rules.game import Happening
from actors.matches.rules.record import Ended, Happened, Joined, Left
from actors.matches.rules.ticks import TickSchedule
from actors.matches.voice import MatchVoice
from actors.runtime.errors import MailboxFull, Refusal
from actors.runtime.future import Future
from actors.runtime.handlers import handles

RETRY_S: Final = 0.5
"""Until something that the store had no room for is tried again."""
LINGER_S: Final = 10.0
"""How long an ended match stays in memory, to answer those who come a little late."""


class RunningMatch(RecordedMatch):
    """Runs the game while somebody is there, logs and pushes what it says, and ends it.

    A step is whatever moves the game: a tick, an input, a join, a leave. After each the order is:
    what happened, then the state, then the end if this was it.

    Attributes:
        topic: the match's.
        voice: what speaks on it.
        sessions: session -> player, of those that are here, or will be once their join is durable.
        ending: (reason, result) once the end is known; it may not be logged yet.
    """

    def __init__(self, host: MatchHost, name: str) -> None:
        super().__init__(host, name)
        private = self.game is not None and self.game.private_views
        self.topic = match_topic(name)
        self.voice = MatchVoice(host, name, tick_hz=self.tick_hz, private=private)
        self.sessions: dict[str, str] = {}
        self.ending: tuple[str, Any] | None = None
        self._unsaid: list[Happening] = []  # said by the game, not yet logged for want of room
        self._schedule: TickSchedule | None = None
        self._alone = False  # the timer until it is abandoned runs

    # --- time ------------------------------------------------------------------------------------

    @handles(Tick)
    def tick(self, _message: Tick) -> None:
        """Run the ticks that are due, then show the state once."""
        schedule, referee = self._schedule, self.referee
        if schedule is None or referee is None:
            return
        counters = self.host.counters
        due, self._schedule = schedule.take(
            self.system.now(), at_most=self.host.settings.catch_up_ticks
        )
        counters.ticks_skipped += due.skipped
        for _ in range(due.run):
            began = time.perf_counter()
            referee.tick()
            self.record.tick += 1
            counters.ticks += 1
            took_s = time.perf_counter() - began
            if took_s * self.tick_hz > 1:
                self._over_budget(took_s)
            self._take_from_game(referee)
            if self.ending is not None:
                break
        if due.run:
            self.mark_dirty()
            self.after_step(show=True)

    def _over_budget(self, took_s: float) -> None:
        counters = self.host.counters
        counters.ticks_over_budget += 1
        if counters.ticks_over_budget.bit_count() == 1:  # the 1st, 2nd, 4th, 8th, ...
            self.log.warning(
                "tick_over_budget",
                took_s=round(took_s, 4),
                budget_s=1 / self.tick_hz,
                so_far=counters.ticks_over_budget,
            )

    def mind_the_clock(self) -> None:
        """Tick while the game is on and somebody is there; else it stands still."""
        going = self.ending is None
        run = going and self.record.started and bool(self.sessions) and self.tick_hz > 0
        if run and self._schedule is None:
            now = self.system.now()
            interval_s = 1 / self.tick_hz
            self._schedule = TickSchedule(self.tick_hz, self.host.spread.start(now, interval_s))
            first_s = self._schedule.next_s() - now
            self.start_ticks(interval_s, Tick(self.epoch), first_s=first_s, name="tick")
        elif not run and self._schedule is not None:
            self._schedule = None
            self.cancel_timer("tick")
        alone = going and not self.sessions
        if alone and not self._alone:
            settings = self.host.settings
            delay_s = settings.abandon_after_s
            if self.record.unjoined:
                delay_s = min(delay_s, settings.unjoined_after_s)
            self.start_timer(delay_s, Abandoned(self.epoch), name="abandoned")
        elif self._alone and not alone:
            self.cancel_timer("abandoned")
        self._alone = alone

    @handles(Abandoned, Disown)
    def abandoned(self, _message: Abandoned | Disown) -> None:
        """End: nobody came back, or nobody will come."""
        if self.record.created is None:
            self.start_timer(0.0, Rest(), name="rest")
        elif not self.sessions and self.ending is None:
            self.end("abandoned", None)

    # --- what follows from a step ----------------------------------------------------------------

    def after_step(self, *, show: bool = False) -> None:
        """Log and push what the game said, the state, and the end. The log may have no room."""
        referee = self.referee
        try:
            if referee is not None and self.broken is None:
                self._take_from_game(referee)
                while self._unsaid:
                    one = self._unsaid[0]
                    self.log_and_push(Happened(one.kind, one.player, one.data, self.record.tick))
                    del self._unsaid[0]
                if show:
                    self.voice.state(self.record, referee)
            if self.ending is not None and self.record.ended is None:
                self._log_end(*self.ending)
        except Refusal:
            self.mind_the_clock()
            self.start_timer(RETRY_S, Settle(self.epoch), name="settle")

    def _take_from_game(self, referee: Referee) -> None:
        self._unsaid += referee.happenings()
        if len(self._unsaid) > self.host.settings.happenings:
            raise referee.crashed("happened", OverflowError("too much while the store is away"))
        if self.ending is None and (result := referee.result()) is not None:
            self.ending = ("finished", result)

    @handles(Settle)
    def settle(self, _message: Settle) -> None:
        """The log had no room; by now it may have."""
        self.after_step(show=True)

    def log_and_push(self, event: Joined | Left | Happened) -> Future[Any]:
        durable = self.persist(event)
        self.voice.event(self.record.said[-1])
        return durable

    # --- the end ---------------------------------------------------------------------------------

    def end(self, reason: str, result: Any) -> None:
        self.ending = (reason, result)
        self.after_step()

    def _log_end(self, reason: str, result: Any) -> None:
        state, private = None, self.game is not None and self.game.private_views
        if self.referee is not None and self.broken is None and not private:
            state = self.referee.shared()
        ended = Ended(result, reason, self.record.tick, state)
        durable = self.persist(ended)
        self.host.counters.ended += 1
        self.host.counters.failed += ended.failed
        self.log.info("match_ended", reason=reason, tick=self.record.tick)
        self.voice.ended(self.record, ended)
        self.mind_the_clock()
        self.pipe_to_self(durable, _over)

    @handles(Over)
    def over(self, _message: Over) -> None:
        """The end is durable: tell the directory, and keep nothing but the log."""
        for listener in self.host.topics.dissolve(self.topic):
            self.let_go(listener.who.session)
        for session in list(self.sessions):
            self.forget(session)
        self.referee = None
        self.discard_snapshot()
        self.report()
        self.start_timer(LINGER_S, Rest(), name="rest")

    def let_go(self, session: str) -> None:
        """Tell a session that it is no longer in this match; its client was told on the topic."""
        with contextlib.suppress(ActorDeadError):
            self.system.ref("session", session).notify(TopicGone(self.topic))

    @handles(Rest)
    def rest(self, _message: Rest) -> None:
        """Leave memory; a late question brings an ended match back from its log."""
        self.passivate()

    # --- those it deals with ----------------------------------------------------------------------

    def forget(self, session: str) -> str | None:
        """The session is here no more; returns its player."""
        self.host.topics.unsubscribe(self.topic, session)
        player = self.sessions.pop(session, None)
        if player is not None:
            self.unwatch(self.system.ref("session", session))
        return player

    def lose(self, session: str) -> None:
        """End the membership of a session that has not asked for it."""
        self.voice.lost(session)
        self.forget(session)
        self.let_go(session)

    def report(self) -> MatchReport:
        """Tell the directory how the match stands."""
        ended = self.record.ended
        report = MatchReport(
            self.name, len(self.record.places), None if ended is None else ended.reason
        )
        self.tell_directory(report)
        return report

    def tell_directory(self, report: MatchReport) -> None:
        try:
            self.system.ref(*DIRECTORY).tell(report)
        except (MailboxFull, ActorDeadError) as error:
            # It asks again, at its next sweep.
            self.log.warning("directory_not_told", error=repr(error))


def _over(durable: Future[Any]) -> Over:
    durable.result()  # what it raises is the match's failure: it is not over
    return Over()
