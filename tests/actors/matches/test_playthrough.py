"""A playthrough is a value: it can be rebuilt from its events, or from a snapshot."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.edge.failures import Refused
from actors.matches.playthrough import Playthrough
from actors.matches.rules.game import Game
from actors.matches.rules.record import (
    AnyEvent,
    Created,
    Ended,
    Happened,
    Joined,
    Left,
    Moved,
)
from actors.matches.settings import MatchSettings
from protocol.errors import MATCH_ENDED, UNKNOWN_GAME, UNKNOWN_MATCH
from tests.actors.games import Counting, Ledger

SETTINGS = MatchSettings(call_limit_s=60.0)

STEP = st.tuples(
    st.sampled_from(["join", "leave", "input", "tick"]), st.sampled_from(["ada", "bob", "cyd"])
)


def new(game: type[Game] | None) -> Playthrough:
    return Playthrough("game-m", game, SETTINGS, lambda _call, _seconds: None)


def created(game: type[Game]) -> Created:
    return Created(game.name, {}, 7, 0)


class Played:
    """A playthrough that is played as a match plays it, and its log."""

    def __init__(self, game: type[Game]) -> None:
        self.play = new(game)
        self.log: list[AnyEvent] = []
        self.play.begin(created(game))
        self.write(created(game))

    def write(self, event: AnyEvent) -> None:
        self.play.note(event, 1)
        self.log.append(event)

    def step(self, what: str, player: str, seq: int) -> None:
        play = self.play
        referee, record = play.playing(), play.record
        if what == "tick":
            play.tick(referee)
        elif what == "join" and player not in record.places:
            referee.join(player)
            self.write(Joined(player, player, record.tick))
        elif what == "leave" and player in record.places:
            referee.leave(player)
            self.write(Left(player, record.tick))
        elif what == "input" and player in record.places:
            referee.input(player, 1)
            self.write(Moved(player, seq, 1, record.tick + 1))


@given(st.lists(STEP, max_size=30))
def test_what_was_played_comes_back_from_events_and_from_a_snapshot(
    steps: list[tuple[str, str]],
) -> None:
    played = Played(Ledger)
    for seq, (what, player) in enumerate(steps, start=1):
        played.step(what, player, seq)
    played.write(Happened("so far", None, None, played.play.record.tick))

    replayed, restored = new(Ledger), new(Ledger)
    for event in played.log:
        replayed.replay(event, 1)
    packed = msgspec.msgpack.encode(played.play.snapshot())
    restored.restore(msgspec.msgpack.decode(packed), 2)
    for play in (replayed, restored):
        assert play.record == played.play.record
        assert play.playing().view() == played.play.playing().view()
        play.recovered(None)
        assert play.broken is None
        assert play.goes_on


def test_only_what_goes_on_can_be_played() -> None:
    def refused(play: Playthrough) -> Any:
        with pytest.raises(Refused) as caught:
            play.playing()
        return caught.value.error

    assert refused(new(Counting)) == UNKNOWN_MATCH
    played = Played(Counting)
    assert played.play.goes_on
    played.play.playing().join("ada")
    played.play.playing().input("ada", {"end": "won"})
    played.play.listen(played.play.playing())
    assert played.play.ending == ("finished", "won")
    assert not played.play.goes_on
    assert refused(played.play) == MATCH_ENDED
    played.write(Ended("won", "finished", 0))
    replayed = new(Counting)
    for event in played.log:
        replayed.replay(event, 1)
    replayed.recovered(None)
    assert replayed.ending == ("finished", "won")
    assert refused(replayed) == MATCH_ENDED


def test_a_game_that_is_not_on_this_server_cannot_begin_and_is_lost_in_a_replay() -> None:
    play = new(None)
    with pytest.raises(Refused) as caught:
        play.begin(created(Counting))
    assert caught.value.error == UNKNOWN_GAME
    play.replay(created(Counting), 1)
    play.recovered(None)
    assert "no game 'counting'" in str(play.broken)


def test_state_that_no_event_holds_is_lost_once_the_match_is_older_than_a_snapshot() -> None:
    young_ticks = int(2 * SETTINGS.snapshot_interval_s * Counting.tick_hz)
    for tick, ignored, broken in (
        (young_ticks, None, "None"),
        (young_ticks + 1, None, "its snapshot is gone"),
        (1, "torn", "its snapshot cannot be used: torn"),
    ):
        play = new(Counting)
        for event in (created(Counting), Joined("ada", "Ada", 0), Left("ada", tick)):
            play.replay(event, 1)
        play.recovered(ignored)
        assert str(play.broken).startswith(broken)
