"""A match's way to its log and to its players: what happens is written, and pushed, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from actors.matches.host import MatchCounters
from actors.matches.messages import Over, Settle
from actors.matches.playthrough import Playthrough
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


class MatchLog:
    """Writes and pushes what follows from the steps of a game.

    A step is whatever moves the game: a tick, an input, a join, a leave. After each the order is:
    what happened, then the state, then the end if this was it. What the log has no room for waits,
    and is tried again by `Settle`.
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

    def follow_up(self, *, show: bool = False) -> None:
        """Log and push what the game said, the state if it is to be shown, and the end.

        Raises `GameCrashed`.
        """
        play = self._play
        referee, record = play.referee, play.record
        try:
            if referee is not None and play.broken is None:
                play.listen(referee)
                while play.unsaid:
                    one = play.unsaid[0]
                    self.write(Happened(one.kind, one.player, one.data, record.tick))
                    del play.unsaid[0]
                if show:
                    self._voice.state(record, referee)
            if play.ending is not None and record.ended is None:
                self._write_end(*play.ending)
        except Refusal:
            self._match.start_timer(RETRY_S, Settle(self._match.epoch), name="settle")

    def _write_end(self, reason: str, result: Any) -> None:
        play, match = self._play, self._match
        state = None
        if play.referee is not None and play.broken is None and not play.private_views:
            state = play.referee.shared()
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
