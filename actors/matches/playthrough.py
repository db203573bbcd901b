"""One play of a game: the game, the record of what happened, and the recovery of both.

The events of a match are its joins and leaves, the happenings that its game reports, crashes, the
end, and, if the game's inputs are durable, each input. In each step the game acts first, and says
and shows what came of it; then the event is persisted. So an event that the game refuses, or that
crashes it, is never logged. That matters because a recovery gives the game all logged events again.

The state of a game without durable inputs is in no event. A crash sets such a game back to its last
snapshot. If there is none, it begins anew only if it may have been too young to have one (see
`_lost`). Otherwise its state is lost, and the match ends as failed: to begin anew would silently
take back what its players did.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import msgspec

from actors.edge.failures import Refused
from actors.matches.referee import GameCrashed, Referee
from actors.matches.rules.game import Game, Happening
from actors.matches.rules.record import AnyEvent, Created, Joined, Left, Moved, Record, Said
from actors.matches.settings import MatchSettings
from protocol.errors import MATCH_ENDED, UNKNOWN_GAME, UNKNOWN_MATCH

YOUNG: Final = 2
"""For how many snapshot intervals a match may be without a snapshot in the store.

The first is taken within one interval, and then has to be committed and saved.
"""
PAST_CRASH_S: Final = 5.0
"""After how many seconds of play a crash of a game with ticks no longer counts."""


class Playthrough:
    """A game as far as it has been played. It knows no actor, no clock and no store.

    Arguments:
        match: the match's name, for the log.
        game: the game's class; None if this server does not have it, so that it cannot be played.
        settings: the settings of matches.
        held_up: called with the name of a call of the game that took too long, and its seconds.

    Attributes:
        record: what the events say.
        referee: the game; None before the match is created, after it has ended, and if the game
            could not be recovered.
        broken: why the game could not be recovered; None if it was.
        sound: whether the game's state may be kept. It may not after a call failed half-way.
        unsaid: the happenings that are not logged yet.
        ending: (reason, result) once the match has ended; the end may not be logged yet.
    """

    def __init__(
        self,
        match: str,
        game: type[Game] | None,
        settings: MatchSettings,
        held_up: Callable[[str, float], None],
    ) -> None:
        self.match = match
        self.game = game
        self.tick_hz = 0.0 if game is None else game.tick_hz
        self.durable_inputs = game is not None and game.durable_inputs
        self.private_views = game is not None and game.private_views
        self.record = Record()
        self.referee: Referee | None = None
        self.broken: str | None = None
        self.sound = True
        self.unsaid: list[Happening] = []
        self.ending: tuple[str, Any] | None = None
        self._settings = settings
        self._held_up = held_up
        self._restored = False

    # --- while it is played ----------------------------------------------------------------------

    @property
    def goes_on(self) -> bool:
        """Whether the match has not ended."""
        return self.ending is None

    @property
    def is_in_its_log(self) -> bool:
        """Whether the events alone are enough to recover the game, without a snapshot."""
        return self.durable_inputs and not self.tick_hz

    def playing(self) -> Referee:
        """Return the game's referee. Raises `Refused` if there is no match, or it has ended."""
        if self.record.created is None:
            raise Refused(UNKNOWN_MATCH)
        if self.ending is not None or self.referee is None:
            raise Refused(MATCH_ENDED)
        return self.referee

    def begin(self, created: Created) -> None:
        """Make the game.

        Raises `Refused` if there is no such game or it refuses the params, and `GameCrashed`.
        Nothing has changed then.
        """
        if self.game is None:
            raise Refused(UNKNOWN_GAME, f"no game {created.game!r}")
        settings = self._settings
        self.referee = Referee(
            created.game,
            self.game,
            match=self.match,
            seed=created.seed,
            params=created.params,
            call_limit_s=settings.call_limit_s,
            max_happenings=settings.happenings,
            value_bytes=settings.value_bytes,
            held_up=self._held_up,
        )

    def tick(self, referee: Referee) -> None:
        """Let the game tick. Raises `GameCrashed`."""
        referee.tick()
        self.record.tick += 1

    def hear(self, referee: Referee) -> None:
        """Take the happenings that the game reports. Raises `GameCrashed`."""
        self.unsaid += referee.happenings()
        if len(self.unsaid) > self._settings.happenings:
            raise referee.crashed("happened", OverflowError("too much while the store is away"))

    def listen(self, referee: Referee) -> None:
        """Take the happenings that the game reports, and its result if there is one.

        Raises `GameCrashed`.
        """
        self.hear(referee)
        if self.ending is None and (result := referee.result()) is not None:
            self.ending = ("finished", result)

    def end(self, reason: str) -> None:
        """End the match without a result, for another reason than that the game is finished."""
        self.ending = (reason, None)

    def put_away(self) -> None:
        """Drop the game, since the match is over and the record has its last state."""
        self.referee = None

    def note_crash(self) -> None:
        """Take note that a call of the game failed half-way, so that its state must not be kept."""
        self.sound = False

    def missed(self, now: int, epoch: int, offset: int | None = None) -> list[Said] | None:
        """Return the events after a position, or None if they are not known or are too long to
        send.

        Arguments:
            now: the present epoch.
            epoch: the epoch of the position.
            offset: the offset of the position. None: the last offset of that epoch that is still
                true.
        """
        record = self.record
        if offset is None:
            offset = record.agreed(epoch)
        if offset is None or epoch > now:  # the position is forgotten, or of a later incarnation
            return None
        missed = record.missed(epoch, offset)
        if missed and len(msgspec.json.encode(missed)) > self._settings.value_bytes:
            return None
        return missed

    # --- events ----------------------------------------------------------------------------------

    def note(self, event: AnyEvent, epoch: int) -> None:
        """Enter an event into the record, after the game has acted on it."""
        record = self.record
        record.apply(event, epoch)
        if isinstance(event, Created):
            self._fit_record()
        elif not isinstance(event, Moved):
            record.tick = max(record.tick, event.tick)
        elif not self.tick_hz:
            record.tick = event.tick

    def replay(self, event: AnyEvent, epoch: int) -> None:
        """Let the game act on an event of the log, and enter the event into the record."""
        if self.broken is None and self.record.ended is None:
            try:
                self._move_again(event)
            except (GameCrashed, Refused) as error:
                # The error is not raised: the match would never recover. It recovers without the
                # game instead, and ends as failed.
                self.broken = str(error)
        self.note(event, epoch)

    def _move_again(self, event: AnyEvent) -> None:
        if isinstance(event, Created):
            self.begin(event)
            return
        referee = self.referee
        assert referee is not None, "the first event creates the match"
        if self.durable_inputs and self.tick_hz:
            # The events hold all inputs, so the ticks between them can be run again.
            at = event.tick - 1 if isinstance(event, Moved) else event.tick
            while self.record.tick < at:
                self.tick(referee)
        match event:
            case Joined():
                referee.join(event.player)
            case Left():
                referee.leave(event.player)
            case Moved():
                referee.input(event.player, event.input)
        referee.happenings()  # these are dropped, since the log has them as events of their own

    # --- snapshots -------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return the state, for msgpack. Raises `GameCrashed`."""
        game = None if self.referee is None else self.referee.snapshot()
        return {"record": self.record, "game": game}

    def restore(self, state: Any, schema: int) -> None:
        """Set the state from a snapshot.

        Raises any exception if the snapshot or the game is bad.
        """
        if schema == 1:
            _with_answers(state["record"])
        self.record = msgspec.convert(state["record"], Record)
        self._fit_record()
        created = self.record.created
        if created is not None and self.record.ended is None:
            self.begin(created)
            assert self.referee is not None
            self.referee.restore(state["game"])
        self._restored = True

    def recovered(self, snapshot_ignored: str | None) -> None:
        """Finish a recovery: set `ending` if the match has ended, and `broken` if it cannot go on.

        `snapshot_ignored` says why a snapshot that was there could not be used, if so.
        """
        record = self.record
        if record.created is None:
            return
        if record.ended is not None:
            self.ending = (record.ended.reason, record.ended.result)
            return
        if self.broken is None:
            self.broken = self._lost(snapshot_ignored)
        if self.broken is None and record.crashes >= self._settings.max_crashes:
            self.broken = f"crashed {record.crashes} times in a row"

    def _lost(self, snapshot_ignored: str | None) -> str | None:
        """Return why the state that was recovered is not the match's state, or None if it is.

        It is called when the events have been replayed. For a game with ticks they say how far the
        match had come at least, and so whether a snapshot must have existed. For a game in turns
        without durable inputs they do not say that; such a game begins anew if there is no
        snapshot.
        """
        if self._restored or self.durable_inputs:
            return None
        if snapshot_ignored is not None:
            return f"its snapshot cannot be used: {snapshot_ignored}"
        young_ticks = YOUNG * self._settings.snapshot_interval_s * self.tick_hz
        if self.tick_hz and self.record.tick > young_ticks:
            return f"its snapshot is gone: it had come to tick {self.record.tick}"
        return None

    def _fit_record(self) -> None:
        # The values of a snapshot do not hold: the settings and the game may have changed since.
        self.record.keep = self._settings.recent_events
        self.record.keep_answers = self._settings.answers
        self.record.past_crash_ticks = math.ceil(self.tick_hz * PAST_CRASH_S)
        self.record.min_players = self.game.min_players if self.game is not None else 1


def _with_answers(record: dict[str, Any]) -> None:
    """Convert a record of schema 1, whose places had the ticks of their last inputs in
    `repeats`.
    """
    for place in record["places"].values():
        place["answers"] = {seq: [tick] for seq, tick in place.pop("repeats", {}).items()}
