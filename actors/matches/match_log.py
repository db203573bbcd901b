"""Writes what happens in a match to its log and pushes it to its players, in order."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from actors.matches.host import MatchCounters
from actors.matches.messages import Over, Settle
from actors.matches.playthrough import Playthrough
from actors.matches.referee import Referee
from actors.matches.rules.record import Ended, Happened, Joined, Left
from actors.matches.voice import MatchVoice
from actors.runtime.errors import Refusal
from actors.runtime.future import Future

RETRY_S: Final = 0.5
"""After how many seconds an event that the store had no room for is tried again."""


class Writing(Protocol):
    """What `MatchLog` needs of its match."""

    epoch: int

    @property
    def log(self) -> Any:
        """A structlog logger."""

    def persist(self, event: msgspec.Struct) -> Future[Any]:
        """See `PersistentActor.persist`."""

    def pipe_to_self(self, future: Future[Any], message: Callable[[Future[Any]], Any]) -> None:
        """See `Actor.pipe_to_self`."""

    def start_timer(self, delay_s: float, message: Any, *, name: str | None = None) -> object:
        """See `Actor.start_timer`."""


class Outcome(NamedTuple):
    """What came of a step of the game. The happenings of the step are in `Playthrough.unsaid`."""

    shown: bool = False
    """Whether the state is to be pushed to the players."""
    seen: Any = None
    """The state to push, as `MatchVoice.look` returns it."""
    last: Any = None
    """The last view, for the log, if this was the end and all players see the same."""


class MatchLog:
    """Writes and pushes what follows from the steps of a game.

    A step is whatever moves the game: a tick, an input, a join or a leave. First `hear_out` takes
    all that the game says and shows after the step, and only then is anything written. If the game
    crashes while it does that, the step must not be in the log, where it would crash every
    recovery.

    The order is then: the event that caused the step, the happenings, the state, and the end if the
    match has ended. What the log has no room for waits, and is tried again by `Settle`.
    """

    def __init__(
        self, match: Writing, play: Playthrough, voice: MatchVoice, counters: MatchCounters
    ) -> None:
        self._match = match
        self._play = play
        self._voice = voice
        self._counters = counters

    def write(self, event: Joined | Left | Happened) -> Future[Any]:
        """Log and push an event. Returns a future that is done when it is durable.

        Raises StoreBusy or Fenced if it cannot be logged.
        """
        durable = self._match.persist(event)
        self._voice.event(self._play.record.said[-1])
        return durable

    def hear_out(self, show_to: Collection[str] = ()) -> Outcome:
        """Take all that the game says and shows after a step; `show_to` are the players who see it.

        Raises `GameCrashed`.
        """
        play = self._play
        referee = play.referee
        if referee is None or play.broken is not None:
            return Outcome()
        play.listen(referee)
        seen = self._voice.look(referee, show_to) if show_to else None
        ends = play.ending is not None and play.record.ended is None
        return Outcome(
            bool(show_to), seen, referee.shared() if ends and not play.private_views else None
        )

    def try_out(self, referee: Referee) -> None:
        """Check that the game can say and show its state after an input that the next tick acts on.

        Raises `GameCrashed`.
        """
        self._play.hear(referee)
        referee.result()
        self._voice.look(referee, self._play.record.places)

    def follow_up(self, outcome: Outcome) -> None:
        """Log and push the happenings, the state if it is to be shown, and the end."""
        play, record = self._play, self._play.record
        try:
            while play.unsaid:
                one = play.unsaid[0]
                self.write(Happened(one.kind, one.player, one.data, record.tick))
                del play.unsaid[0]
            if outcome.shown:
                self._voice.state(record, outcome.seen)
            if play.ending is not None and record.ended is None:
                self._write_end(*play.ending, outcome.last)
        except Refusal:
            self._match.start_timer(RETRY_S, Settle(self._match.epoch), name="settle")

    def _write_end(self, reason: str, result: Any, state: Any) -> None:
        play, match = self._play, self._match
        ended = Ended(result, reason, play.record.tick, state)
        durable = match.persist(ended)
        self._counters.ended += 1
        self._counters.failed += ended.failed
        match.log.info("match_ended", reason=reason, tick=play.record.tick)
        self._voice.ended(play.record, ended)
        match.pipe_to_self(durable, _over)


def _over(durable: Future[Any]) -> Over:
    durable.result()  # raises if the end is not durable, which fails the match
    return Over()
