"""One play of a game: the game, the record of it, and how both come back after a crash of either.

What happens to a match is an event: joins, leaves, what the game says, crashes, the end, and each
input of a game whose inputs are durable. The game acts first, and says and shows what came of it;
the event is persisted after that, in the same step. So what the rules refuse is never logged, nor
is what crashes the game, which a recovery would have it do again: it gives the game what the
events hold. The state of a game without durable inputs is in no event: a crash sets it back to the
last snapshot. Without one it begins anew only if it may have been too young to have any (see
`_lost`); a match whose state is lost ends as failed, since to begin anew would take back what its
players did, without a word.
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
"""Snapshot intervals of play in which a match may have got no snapshot into the store: the first
is taken within one, and then has to be committed and saved."""
PAST_CRASH_S: Final = 5.0
"""A game with ticks that ran for so long beyond a crash has got past it."""


class Playthrough:
    """A game as far as it has been played. It knows no actor, no clock and no store.

    Arguments:
        match: the name, for the log.
        game: its class; None: not on this server, so that nothing can be played.
        held_up: is told of each call of the game that took too long, by its name, with the seconds.

    Attributes:
        record: what the events say.
        referee: the game. None before the match is created, after it ended, and if it is broken.
        broken: why the game could not be brought back.
        sound: whether the game's state may be kept; not once a call broke off, which may have left
            half a change in it.
        unsaid: what the game said, as long as the log has no room for it.
        ending: (reason, result) once the end is known; it may not be logged yet.
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
        """Whether no end of it is known."""
        return self.ending is None

    @property
    def is_in_its_log(self) -> bool:
        """Whether the events hold all that has moved the game, so that no snapshot is needed."""
        return self.durable_inputs and not self.tick_hz

    def playing(self) -> Referee:
        """The game of a match that goes on. Raises `Refused`."""
        if self.record.created is None:
            raise Refused(UNKNOWN_MATCH)
        if self.ending is not None or self.referee is None:
            raise Refused(MATCH_ENDED)
        return self.referee

    def begin(self, created: Created) -> None:
        """Make the game. Raises `Refused`: no such game, or it will not have these params; and
        `GameCrashed`. Nothing has changed then.
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
        """Take what the game said. Raises `GameCrashed`."""
        self.unsaid += referee.happenings()
        if len(self.unsaid) > self._settings.happenings:
            raise referee.crashed("happened", OverflowError("too much while the store is away"))

    def listen(self, referee: Referee) -> None:
        """Take what the game said, and its result if that is known. Raises `GameCrashed`."""
        self.hear(referee)
        if self.ending is None and (result := referee.result()) is not None:
            self.ending = ("finished", result)

    def end(self, reason: str) -> None:
        """It ends for another reason than that the game is finished, and without a result."""
        self.ending = (reason, None)

    def put_away(self) -> None:
        """It is over: no more of the game is needed, as the record has its last state."""
        self.referee = None

    def note_crash(self) -> None:
        """A call of the game broke off: its state is not to be kept."""
        self.sound = False

    def missed(self, now: int, epoch: int, offset: int | None = None) -> list[Said] | None:
        """What was said since a position, by the record; None also if that is very long. Without an
        offset: since the last offset that is still true of what the incarnation `epoch` said.

        `now`: the present epoch.
        """
        record = self.record
        if offset is None:
            offset = record.agreed(epoch)
        if offset is None or epoch > now:  # forgotten, or ahead of us
            return None
        missed = record.missed(epoch, offset)
        if missed and len(msgspec.json.encode(missed)) > self._settings.value_bytes:
            return None
        return missed

    # --- events ----------------------------------------------------------------------------------

    def note(self, event: AnyEvent, epoch: int) -> None:
        """Let an event be part of the record, the game having acted."""
        record = self.record
        record.apply(event, epoch)
        if isinstance(event, Created):
            self._fit_record()
        elif not isinstance(event, Moved):
            record.tick = max(record.tick, event.tick)
        elif not self.tick_hz:
            record.tick = event.tick

    def replay(self, event: AnyEvent, epoch: int) -> None:
        """Let an event out of the log move the game, and be part of the record."""
        if self.broken is None and self.record.ended is None:
            try:
                self._move_again(event)
            except (GameCrashed, Refused) as error:
                # Not raised on: a game that cannot be replayed would never be recovered. The match
                # comes back without it, and ends as failed.
                self.broken = str(error)
        self.note(event, epoch)

    def _move_again(self, event: AnyEvent) -> None:
        if isinstance(event, Created):
            self.begin(event)
            return
        referee = self.referee
        assert referee is not None, "the first event creates the match"
        if self.durable_inputs and self.tick_hz:
            # Then the events hold all that moved the game, and its ticks can be run again.
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
        referee.happenings()  # they are events of their own

    # --- snapshots -------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """The state, for msgpack. Raises `GameCrashed`."""
        game = None if self.referee is None else self.referee.snapshot()
        return {"record": self.record, "game": game}

    def restore(self, state: Any, schema: int) -> None:
        """Take over a snapshot. Raises what is wrong with it, or with the game."""
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
        """All is there that will be: know how it ended, or if it cannot go on, why it is `broken`.

        `snapshot_ignored`: why a snapshot that was there could not be used.
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
        """Why what recovery brought back is not the match's state; None: it is.

        Asked when the events have been replayed. They say by their ticks how far the match was at
        the least, and so that a snapshot was lost. Those of a game in turns without durable inputs
        do not say how long it was played: without any snapshot it begins anew.
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
        # Not the snapshot's: the settings and the game may have changed since.
        self.record.keep = self._settings.recent_events
        self.record.keep_answers = self._settings.answers
        self.record.past_crash_ticks = math.ceil(self.tick_hz * PAST_CRASH_S)
        self.record.min_players = self.game.min_players if self.game is not None else 1


def _with_answers(record: dict[str, Any]) -> None:
    """Of schema 1, where a place had the ticks of its last inputs under `repeats`."""
    for place in record["places"].values():
        place["answers"] = {seq: [tick] for seq, tick in place.pop("repeats", {}).items()}
