"""What a game shows and says must be readable for every client, whoever is there."""

from __future__ import annotations

import datetime
import enum
from typing import Any, ClassVar

import msgpack
import msgspec
import pytest
import trio.testing

from actors.matches.referee import GameCrashed
from protocol.codec import JSON, MSGPACK, Encoding
from protocol.messages.match import MatchEnded, MatchEvent, MatchStatePush
from tests.actors.games import Counting
from tests.actors.table import table

pytestmark = pytest.mark.usefixtures("layout")

LIMIT = 3000


class Suit(enum.Enum):
    HEARTS = "hearts"


class Card(msgspec.Struct):
    suit: Suit
    rank: int


class Showing(Counting):
    """A game in turns that shows, tells or ends with the values that the test sets on the class."""

    name: ClassVar[str] = "showing"
    tick_hz: ClassVar[float] = 0.0
    shown: ClassVar[Any] = None
    how: ClassVar[str] = "view"

    def input(self, player: str, move: Any) -> None:
        self.ticks += 1
        if type(self).how == "happened":
            self.happened("shown", player, type(self).shown)

    def view(self) -> Any:
        return type(self).shown if type(self).how == "view" and self.ticks else {}

    def view_for(self, player: str) -> Any:
        return self.view()

    def result(self) -> Any | None:
        return type(self).shown if type(self).how == "result" and self.ticks else None


class ShowingEach(Showing):
    name: ClassVar[str] = "showing_each"
    private_views: ClassVar[bool] = True


async def show(how: str, shown: Any, game: type[Showing], *encodings: Encoding) -> list[Any]:
    """Return what a player of each encoding is pushed. Raises the error of the input."""
    Showing.shown, Showing.how = shown, how
    async with table(game, value_bytes=LIMIT) as one:
        match = await one.create(game.name)
        players = [
            one.player(f"p{number}", encoding=encoding) for number, encoding in enumerate(encodings)
        ]
        for player in players:
            await player.join(match)
        await players[0].input(match, 1, 1)
        if how == "view":
            return [player.got(MatchStatePush)[-1].state for player in players]
        if how == "result":
            return [player.got(MatchEnded)[-1].result for player in players]
        return [player.got(MatchEvent)[-1].data for player in players]


GAMES = [Showing, ShowingEach]
HOW = ["view", "result", "happened"]
NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("encodings", [(MSGPACK,), (JSON,), (MSGPACK, JSON)])
@pytest.mark.parametrize(
    "shown",
    [
        pytest.param({(1, 2): "piece"}, id="a tuple for a key"),
        pytest.param([{"deep": {None: 1}}], id="None for a key"),
        pytest.param({b"key": 1}, id="bytes for a key"),
        pytest.param({"n": 2**64}, id="an integer beyond 64 bits"),
        pytest.param({"n": "\ud800"}, id="no Unicode"),
        pytest.param(msgspec.msgpack.Ext(1, b"x"), id="an extension"),
        pytest.param("\x01" * (LIMIT // 6), id="too long as JSON"),
        pytest.param([1.0] * (LIMIT // 5), id="too long as msgpack"),
    ],
)
async def test_what_some_client_could_not_read_crashes_the_match_whoever_is_there(
    autojump_clock: trio.testing.MockClock,
    shown: Any,
    encodings: tuple[Encoding, ...],
    how: str,
    game: type[Showing],
) -> None:
    with pytest.raises(GameCrashed, match=rf"{how}\(\) of game {game.name}:"):
        await show(how, shown, game, *encodings)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    ("shown", "seen"),
    [
        ({1: "a", 2.5: ("b",)}, {"1": "a", "2.5": ["b"]}),
        ([Card(Suit.HEARTS, 7)], [{"suit": "hearts", "rank": 7}]),
        ({"at": NOW}, {"at": "2026-01-02T00:00:00Z"}),
        ({"n": [2**64 - 1, -(2**63), None, True, 0.5]},) * 2,
    ],
)
async def test_what_every_client_can_read_is_the_same_for_all(
    autojump_clock: trio.testing.MockClock, shown: Any, seen: Any, how: str, game: type[Showing]
) -> None:
    assert await show(how, shown, game, MSGPACK, JSON) == [seen, seen]
    assert msgpack.unpackb(msgpack.packb(seen)) == seen  # by a decoder that takes no other keys


async def test_bytes_stay_bytes_where_they_can(autojump_clock: trio.testing.MockClock) -> None:
    for shown in (b"abc", bytearray(b"abc")):
        assert await show("view", {"it": shown}, Showing, MSGPACK, JSON) == [
            {"it": b"abc"},
            {"it": "YWJj"},
        ]
