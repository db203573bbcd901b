"""A match's memory: how its record and its game come back after a crash of either."""

from __future__ import annotations

import math
from types import TracebackType
from typing import Any, ClassVar, Final

import msgspec

from actors.edge.failures import Refused
from actors.matches.host import MatchHost
from actors.matches.messages import Unsound
from actors.matches.referee import GameCrashed, Referee
from actors.matches.rules.record import (
    AnyEvent,
    Crashed,
    Created,
    Joined,
    Left,
    MatchEvents,
    Moved,
    Record,
)
from actors.runtime.errors import Refusal
from actors.runtime.handlers import handles
from actors.runtime.persistence import PersistentActor
from protocol.errors import UNKNOWN_GAME

YOUNG: Final = 2
"""Snapshot intervals of play in which a match may have got no snapshot into the store: the first
is taken within one, and then has to be committed and saved."""
PAST_CRASH_S: Final = 5.0
"""A game with ticks that ran for so long beyond a crash has got past it."""


class RecordedMatch(PersistentActor):
    """The part of a match that persists.

    What happens to a match is an event: joins, leaves, what the game says, crashes, the end, and
    each input of a game whose inputs are durable. The game acts first and the event is persisted
    after it, in the same step, so that what the rules refuse is never logged; on recovery `apply`
    gives the game what the events hold. The state of a game without durable inputs is in no event:
    a crash sets it back to the last snapshot. Without one it begins anew only if it may have been
    too young to have any (see `state_lost`); a match whose state is lost ends as failed, since to
    begin anew would take back what its players did, without a word.

    Attributes:
        referee: the game. None before the match is created, after it ended, and if it is broken.
        live: recovered and not failed or stopped. Events that come now have acted already.
        broken: why the game could not be brought back.
    """

    schema_version: ClassVar[int] = 2
    events: ClassVar[tuple[type[msgspec.Struct], ...]] = MatchEvents

    def __init__(self, host: MatchHost, name: str) -> None:
        super().__init__()
        self.name = name
        self.host = host
        self.game = host.game_of(name)
        self.tick_hz = self.game.tick_hz if self.game is not None else 0.0
        self.durable_inputs = self.game is not None and self.game.durable_inputs
        self.record = Record()
        self.referee: Referee | None = None
        self.live = False
        self.broken: str | None = None
        self._game_crashed = False
        self._restored = False

    # --- state -----------------------------------------------------------------------------------

    def snapshot(self) -> Any:
        try:
            game = None if self.referee is None else self.referee.snapshot()
        except GameCrashed as error:
            if self.live:
                # The runtime goes on without a snapshot; a match must not, or its next crash would
                # cost more than it may.
                self.start_timer(0.0, Unsound(self.epoch, str(error)), name="unsound")
            raise
        return {"record": self.record, "game": game}

    def restore(self, state: Any, schema: int) -> None:
        if schema == 1:
            _with_answers(state["record"])
        self.record = msgspec.convert(state["record"], Record)
        self._fit_record()
        created = self.record.created
        if created is not None and self.record.ended is None:
            self.referee = self.new_referee(created)
            self.referee.restore(state["game"])
        self._restored = True

    def apply(self, event: AnyEvent) -> None:
        if not self.live and self.broken is None and self.record.ended is None:
            try:
                self._replay(event)
            except (GameCrashed, Refused) as error:
                # Not raised on: a game that cannot be replayed would never be recovered. The match
                # comes back without it, and ends as failed.
                self.broken = str(error)
        self.record.apply(event, self.event_epoch)
        if isinstance(event, Created):
            self._fit_record()
        elif not isinstance(event, Moved):
            self.record.tick = max(self.record.tick, event.tick)
        elif not self.tick_hz:
            self.record.tick = event.tick

    def _replay(self, event: AnyEvent) -> None:
        if isinstance(event, Created):
            self.referee = self.new_referee(event)
            return
        referee = self.referee
        assert referee is not None, "the first event creates the match"
        if self.durable_inputs and self.tick_hz:
            # Then the events hold all that moved the game, and its ticks can be run again.
            at = event.tick - 1 if isinstance(event, Moved) else event.tick
            while self.record.tick < at:
                referee.tick()
                self.record.tick += 1
        match event:
            case Joined():
                referee.join(event.player)
            case Left():
                referee.leave(event.player)
            case Moved():
                referee.input(event.player, event.input)
        referee.happenings()  # they are events of their own

    def state_lost(self) -> str | None:
        """Why what recovery brought back is not the match's state; None: it is.

        Asked when the events have been replayed. They say by their ticks how far the match was at
        the least, and so that a snapshot was lost. Those of a game in turns without durable inputs
        do not say how long it was played: without any snapshot it begins anew.
        """
        if self._restored or self.durable_inputs:
            return None
        if self.snapshot_ignored is not None:
            return f"its snapshot cannot be used: {self.snapshot_ignored}"
        young_ticks = YOUNG * self.host.settings.snapshot_interval_s * self.tick_hz
        if self.tick_hz and self.record.tick > young_ticks:
            return f"its snapshot is gone: it had come to tick {self.record.tick}"
        return None

    def new_referee(self, created: Created) -> Referee:
        """A new game. Raises `Refused`: no such game, or it will not have these params."""
        if self.game is None:
            raise Refused(UNKNOWN_GAME, f"no game {created.game!r}")
        settings = self.host.settings
        return Referee(
            created.game,
            self.game,
            match=self.name,
            seed=created.seed,
            params=created.params,
            call_limit_s=settings.call_limit_s,
            max_happenings=settings.happenings,
            value_bytes=settings.value_bytes,
            held_up=self._held_up,
        )

    def _held_up(self, call: str, seconds: float) -> None:
        self.host.counters.calls_hung += 1
        game = self.name.rpartition("-")[0]
        self.log.error("game_held_up_node", game=game, call=call, seconds=round(seconds, 3))

    def _fit_record(self) -> None:
        # Not the snapshot's: the settings and the game may have changed since.
        self.record.keep = self.host.settings.recent_events
        self.record.keep_answers = self.host.settings.answers
        self.record.past_crash_ticks = math.ceil(self.tick_hz * PAST_CRASH_S)
        self.record.min_players = self.game.min_players if self.game is not None else 1

    # --- failing ---------------------------------------------------------------------------------

    @handles(Unsound)
    def unsound(self, message: Unsound) -> None:
        """Go back to the last snapshot there is."""
        assert self.record.created is not None
        raise GameCrashed(self.record.created.game, "snapshot", message.error)

    def state_is_sound(self) -> bool:
        # A call that broke off may have left half a change in the game.
        return not self._game_crashed and super().state_is_sound()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,  # noqa: ARG002 - Pykka's hook
        exception_value: BaseException | None,
        traceback: TracebackType | None,  # noqa: ARG002
    ) -> None:
        if isinstance(exception_value, GameCrashed):
            self._game_crashed = True
            self.note_crash(exception_value)
            if self.live and self.record.created is not None and self.record.ended is None:
                try:
                    self.persist(Crashed(self.record.tick, str(exception_value)[:1000]))
                except Refusal as refusal:  # a full store: the crash is not counted
                    self.log.warning("crash_not_recorded", reason=str(refusal))
        self.live = False

    def note_crash(self, error: GameCrashed) -> None:
        """Count a crash of the game, and name it in the log."""
        self.host.counters.crashes += 1
        self.log.error(
            "game_crashed",
            game=error.game,
            call=error.call,
            tick=self.record.tick,
            error=str(error),
        )

    def on_stop(self) -> None:
        self.live = False


def _with_answers(record: dict[str, Any]) -> None:
    """Of schema 1, where a place had the ticks of its last inputs under `repeats`."""
    for place in record["places"].values():
        place["answers"] = {seq: [tick] for seq, tick in place.pop("repeats", {}).items()}
