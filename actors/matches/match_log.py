"""A match's way to its log and to its players: what happens is written, and pushed, in order."""

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
"""Until something that the store had no room for is tried again."""


class Writing(Protocol):
    """What the log needs of its match."""

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
    """What came of a step of the game, apart from what it said, which the playthrough has."""

    shown: bool = False
    """Whether the players are to be shown the state."""
    seen: Any = None
    """What they are to be shown, for the voice."""
    last: Any = None
    """The last view, for the log, if this was the end and everyone sees the same."""


class MatchLog:
    """Writes and pushes what follows from the steps of a game.

    A step is whatever moves the game: a tick, an input, a join, a leave. It is heard out before
    anything of it is written: a game that cannot say or show what came of a step has crashed in it,
    and a step that is in the log, or half of it, would crash every recovery. Then the order is:
    what brought it about, what happened, the state, the end if this was it. What the log has no
    room for waits, and is tried again by `Settle`.
    """

    def __init__(
        self, match: Writing, play: Playthrough, voice: MatchVoice, counters: MatchCounters
    ) -> None:
        self._match = match
        self._play = play
        self._voice = voice
        self._counters = counters

    def write(self, event: Joined | Left | Happened) -> Future[Any]:
        """Log and push what happened. Raises what `persist` raises for want of room."""
        durable = self._match.persist(event)
        self._voice.event(self._play.record.said[-1])
        return durable

    def hear_out(self, show_to: Collection[str] = ()) -> Outcome:
        """Take what came of the step that the game has just made, also what `show_to` see.

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
        """Take what the game said to an input that its next tick will act on, and see that it could
        show what came of it. Raises `GameCrashed`.
        """
        self._play.hear(referee)
        referee.result()
        self._voice.look(referee, self._play.record.places)

    def follow_up(self, outcome: Outcome) -> None:
        """Log and push what the game said, the state if it is to be shown, and the end."""
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
    durable.result()  # what it raises is the match's failure: it is not over
    return Over()
