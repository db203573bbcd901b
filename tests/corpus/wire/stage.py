"""Where tapes are recorded and played: a house of players, and connections at the level of frames.

Only what a server of version 1 has, too, is used of the server: `record.py` says why.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Final, Literal

from actors.chat.settings import RoomSettings
from actors.matches.rules.game import Game
from actors.matches.settings import MatchSettings
from examples.arena import Arena
from examples.tictactoe import TicTacToe
from protocol.codec import ENCODINGS, Encoding
from protocol.errors import BUSY, CLOSES, RequestError
from protocol.frames import CLOSE, parse_close
from tests.actors.players import House, open_house, unlimited
from tests.protocol.live import unframe

SEED: Final = 7
TOPICS: Final = 4
"""Rooms and matches of one session."""
RECENT: Final = 4
"""Messages that a resume bridges."""
MEMBERS: Final = 3
"""Sessions in a room."""
MATCHES: Final = 3
"""That run at once."""


class TrippingArena(Arena):
    """An arena whose next `trips` ticks crash it, and which lays its next `gifts` at a player's
    feet: who finds an orb by moving about is a matter of single ticks.
    """

    trips: ClassVar[int] = 0
    gifts: ClassVar[int] = 0

    def tick(self) -> None:
        if TrippingArena.gifts and self.bodies:
            TrippingArena.gifts -= 1
            body = next(iter(self.bodies.values()))
            self.orbs[0] = (body.x, body.y)
        super().tick()
        _trip(TrippingArena)


class TrippingTicTacToe(TicTacToe):
    """The same with inputs, as it has no ticks."""

    trips: ClassVar[int] = 0

    def input(self, player: str, move: Any) -> None:
        _trip(TrippingTicTacToe)
        super().input(player, move)


def _trip(game: type[TrippingArena | TrippingTicTacToe]) -> None:
    if game.trips:
        game.trips -= 1
        raise ZeroDivisionError("tripped for the corpus")


GAMES: Final[dict[str, type[TrippingArena | TrippingTicTacToe]]] = {
    game.name: game for game in (TrippingArena, TrippingTicTacToe)
}


def meddle(do: Literal["trip", "gift"], game: str, times: int) -> None:
    """Have the game crash, or give."""
    if do == "trip":
        GAMES[game].trips = times
    else:
        TrippingArena.gifts = times


class Port:
    """One client's connection: what it sends is handed in, what it is sent is taken out."""

    def __init__(self, house: House, encoding: Encoding) -> None:
        self.encoding = encoding
        self.waiting: deque[bytes | int] = deque()
        """Messages that came and, as the last, the code that the connection was closed with."""
        self._player = house.connect(encoding)

    def hand_in(self, payload: bytes) -> None:
        """Send one message, as the wire does once it has found its end."""
        connection, handler = self._player.client.connection, self._player.handler
        if connection.closed:
            return
        connection.message_bytes = len(payload)
        try:
            request = self.encoding.decode_request(payload)
        except RequestError as error:
            handler.undecodable(error, error.ref)
        else:
            assert handler.received(request) is None
        connection.end_shed()

    def take_out(self) -> None:
        """Move what has come to `waiting`."""
        outbox = self._player.client.outbox
        got = bytearray()
        while data := outbox.next_bytes():
            got += data
            outbox.sent(data, len(data))
            outbox.idle()
        while found := unframe(got):
            opcode, payload, size = found
            del got[:size]
            if opcode == CLOSE:
                code = parse_close(payload)[0]
                self.waiting.append(code)
                self._player.handler.disconnected(CLOSES.get(code, code), "")
            else:
                self.waiting.append(payload)

    def breaks(self) -> None:
        """The network cuts it off; what was under way is lost."""
        self._player.leave()
        self.take_out()
        self.waiting.clear()

    def refuse(self, refs: tuple[int, ...]) -> None:
        """The server has too much to do, and says so to several requests in one message."""
        first, *others = refs
        self._player.client.connection.refuse(RequestError(BUSY), first, others)


def encoding_of(name: str) -> Encoding:
    """By its name in a tape."""
    return ENCODINGS[f"greenroom.v1.{name}"]


@asynccontextmanager
async def stage() -> AsyncIterator[House]:
    """A house for one scene. Its limits are low, so that scenes reach them."""
    games: list[type[Game]] = [TrippingArena, TrippingTicTacToe]
    for game in GAMES.values():
        game.trips = 0
    TrippingArena.gifts = 0
    async with open_house(
        sessions=unlimited(topics=TOPICS),
        rooms=RoomSettings(recent=RECENT, joined_messages=RECENT, members=MEMBERS),
        games=games,
        matches=MatchSettings(max_matches=MATCHES, call_limit_s=60.0),
        seed=SEED,
    ) as house:
        yield house
