"""A step that crashes the game is undone as a whole: nothing of it is in the log."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import trio
import trio.testing

from actors.matches.referee import GameCrashed
from actors.matches.rules.game import Game
from actors.runtime.errors import Quarantined
from protocol.messages.match import MatchEnded, MatchEvent, MatchRestarted
from tests.actors.games import Counting
from tests.actors.table import table, two_players

pytestmark = pytest.mark.usefixtures("layout")

OUTCOMES: dict[str, Any] = {
    "says too much at once": {"say": 0, "times": 1000},
    "says what is too long": {"say": "x" * 200_000},
    "says what cannot be encoded": {"say": object},
    "says something, and shows what is too long": {"say": 1, "show": "x" * 200_000},
    "shows what cannot be encoded": {"show": object},
    "ends with what is too long": {"end": "x" * 200_000},
    "ends with what cannot be encoded": {"end": object},
}


class Fragile(Counting):
    """A game in turns with durable inputs.

    A step can make its view, result or event unencodable.
    """

    name: ClassVar[str] = "fragile"
    tick_hz: ClassVar[float] = 0.0
    durable_inputs: ClassVar[bool] = True
    at_join: ClassVar[dict[str, Any]] = {}
    at_leave: ClassVar[dict[str, Any]] = {}

    shown: Any = None

    def join(self, player: str) -> None:
        super().join(player)
        self._do(type(self).at_join.get(player, {}))

    def leave(self, player: str) -> None:
        super().leave(player)
        self._do(type(self).at_leave.get(player, {}))

    def input(self, player: str, move: Any) -> None:
        if isinstance(move, str):
            self._do(OUTCOMES[move])
        else:
            super().input(player, move)

    def _do(self, what: dict[str, Any]) -> None:
        for _ in range(what.get("times", "say" in what)):
            self.happened("said", None, what["say"])
        self.shown = what.get("show")
        self.end = what.get("end")

    def view(self) -> Any:
        return {"sums": self.sums, "shown": self.shown}

    def snapshot(self) -> Any:
        return [self.sums]

    def restore(self, state: Any) -> None:
        (self.sums,) = state


class FragileRunning(Fragile):
    """`Fragile` without durable inputs: its state is only in snapshots."""

    name: ClassVar[str] = "fragile_running"
    durable_inputs: ClassVar[bool] = False


class FragileTicking(Fragile):
    name: ClassVar[str] = "fragile_ticking"
    tick_hz: ClassVar[float] = 20.0


class FragileHands(Fragile):
    """`Fragile` in which each player sees a state of their own, and only bob's can break."""

    name: ClassVar[str] = "fragile_hands"
    private_views: ClassVar[bool] = True

    def view_for(self, player: str) -> Any:
        return self.view() if player == "bob" else self.sums


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("game", [Fragile, FragileHands, FragileRunning, FragileTicking])
async def test_an_input_whose_outcome_cannot_be_told_is_not_taken_and_its_seq_is_free(
    autojump_clock: trio.testing.MockClock, game: type[Game], outcome: str
) -> None:
    async with table(game) as one:
        match, ada, bob = await two_players(one, game.name)
        await ada.input(match, 1, 5)
        await trio.sleep(3)  # into a snapshot
        with pytest.raises(GameCrashed):
            await ada.input(match, 2, outcome)
        await trio.sleep(1)
        assert one.host.counters.crashes == 1
        (restarted,) = bob.got(MatchRestarted)
        assert bob.got(MatchEvent) == []
        assert (await ada.input(match, 2, 3)).tick > restarted.tick
        await trio.sleep(1)
        resumed = await one.player("ada", "phone").join(match)
        sums = resumed.state if game is FragileHands else resumed.state["sums"]
        assert sums["ada"] == 8
        assert resumed.acks == {"ada": 2}
        assert bob.got(MatchEnded) == []
        moved = ["Moved"] * game.durable_inputs
        assert one.log(match) == ["Created", "Joined", "Joined", *moved, "Crashed", *moved]


async def test_a_state_that_a_player_who_is_away_cannot_be_shown_is_found_at_the_input(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(FragileHands) as one:
        match, ada, bob = await two_players(one, FragileHands.name)
        await bob.vanish()
        with pytest.raises(GameCrashed):
            await ada.input(match, 1, "shows what cannot be encoded")
        await trio.sleep(1)
        bob.connect()
        assert (await bob.join(match)).state["shown"] is None
        assert one.host.counters.crashes == 1


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("game", [Fragile, FragileRunning])
async def test_a_join_or_a_leave_whose_outcome_cannot_be_told_is_undone(
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    game: type[Fragile],
    outcome: str,
) -> None:
    async with table(game) as one:
        match, ada, bob = await two_players(one, game.name)
        await trio.sleep(3)
        monkeypatch.setattr(game, "at_join", {"cyd": OUTCOMES[outcome]})
        cyd = one.player("cyd")
        with pytest.raises(GameCrashed):
            await cyd.join(match)
        await trio.sleep(1)
        monkeypatch.setattr(game, "at_join", {})
        monkeypatch.setattr(game, "at_leave", {"bob": OUTCOMES[outcome]})
        with pytest.raises(GameCrashed):
            await bob.leave(match)
        await trio.sleep(1)
        monkeypatch.setattr(game, "at_leave", {})
        assert [event.kind for event in ada.got(MatchEvent)] == ["joined"]
        assert (await ada.input(match, 1, 1)).tick == 1
        assert set(bob.state["sums"]) == {"ada", "bob"}
        await bob.leave(match)
        assert [event.kind for event in ada.got(MatchEvent)] == ["joined", "left"]
        assert ada.got(MatchEnded) == []
        assert "Happened" not in one.log(match)


async def test_what_crashes_is_kept_from_the_match_after_the_second_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with table(Fragile) as one:
        match, ada, bob = await two_players(one, Fragile.name)
        for error in (GameCrashed, GameCrashed, Quarantined):
            with pytest.raises(error):
                await ada.input(match, 1, "shows what cannot be encoded")
            await trio.sleep(0.1)
        await bob.input(match, 1, 1)
        await ada.input(match, 1, 2)
        assert bob.state["sums"] == {"ada": 2, "bob": 1}
