"""What is played to fill the corpus: real actors on stores in memory, on a mock clock.

Each scene returns entries by name. Together they have every type of event and every part of a
snapshot; a test makes sure of the events.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar

import trio

from actors.chat.settings import RoomSettings
from actors.edge.failures import Refused
from actors.matches.rules.game import Game
from examples.arena import Arena
from examples.tictactoe import TicTacToe
from protocol.messages.room import RoomJoin, RoomSend
from tests.actors.players import House, Player, open_house
from tests.actors.table import Stores, Table, table
from tests.corpus.entries import Entry

ROOM = "lobby"
SNAPSHOT_S = 1.0
AFTER_A_SNAPSHOT_S = 1.7
"""Long enough for a snapshot to be taken, and short enough for events to follow it."""
AFTER_A_LATE_SNAPSHOT_S = 6.0
"""The same for actors that take a snapshot every five seconds, as they need only events."""
GAMES: tuple[type[Game], ...] = (TicTacToe, Arena)


class TrippingArena(Arena):
    """An arena that crashes when it is told to, so that a crash is in the log."""

    trip: ClassVar[bool] = False

    def tick(self) -> None:
        super().tick()
        if type(self).trip:
            type(self).trip = False
            raise ZeroDivisionError("tripped for the corpus")


async def room() -> AsyncIterator[tuple[str, Entry]]:
    """Two people talk, with keys and without, over a crash."""
    stores = Stores()
    assert stores.snapshots is not None

    def entry() -> Entry:
        assert stores.snapshots is not None
        return Entry.of("room", ROOM, stores.events, stores.snapshots)

    async with open_house(
        events=stores.events,
        snapshots=stores.snapshots,
        rooms=RoomSettings(snapshot_interval_s=SNAPSHOT_S),
    ) as house:
        ada, bob = await _guest(house, "ada"), await _guest(house, "bob")
        await ada.ask(RoomSend(room=ROOM, body="hello", key="k-1"))
        await bob.ask(RoomSend(room=ROOM, body="héllo ada €"))
        yield "room-begun", entry()
        await trio.sleep(AFTER_A_SNAPSHOT_S)
        await ada.ask(RoomSend(room=ROOM, body="x" * 300, key="k-2"))
        yield "room-snapshot", entry()
        house.break_room(ROOM)
        await trio.sleep(0.1)
        await bob.ask(RoomSend(room=ROOM, body="after a crash", key="k-1"))
        await trio.sleep(AFTER_A_SNAPSHOT_S)
        for number in range(3):
            await ada.ask(RoomSend(room=ROOM, body=f"said {number}"))
        yield "room-crashed", entry()


async def _guest(house: House, name: str) -> Player:
    player = await house.player(name)
    await player.ask(RoomJoin(room=ROOM))
    return player


async def tictactoe() -> AsyncIterator[tuple[str, Entry]]:
    """A game in turns: all of it is in events."""
    stores = Stores()
    async with table(TicTacToe, stores=stores, snapshot_interval_s=SNAPSHOT_S) as here:
        match = await here.create("tictactoe", key="k-1")
        ada, bob = here.player("ada"), here.player("bob")
        await ada.join(match)
        yield "tictactoe-waiting", _match(stores, match)
        await bob.join(match)
        await ada.input(match, 1, {"cell": 4})
        with contextlib.suppress(Refused):
            await ada.input(match, 2, {"cell": 1})  # not ada's turn
        await trio.sleep(AFTER_A_LATE_SNAPSHOT_S)
        await bob.input(match, 3, {"cell": 0})
        yield "tictactoe-playing", _match(stores, match)
        for seq, (player, cell) in enumerate(((ada, 2), (bob, 8), (ada, 6)), 5):
            await player.input(match, seq, {"cell": cell})
        yield "tictactoe-won", _match(stores, match)
        other = await here.create("tictactoe")
        await ada.join(other)
        await bob.join(other)
        await bob.leave(other)
        yield "tictactoe-forfeited", _match(stores, other)


async def arena() -> AsyncIterator[tuple[str, Entry]]:
    """A game with ticks: its state is in snapshots only."""
    stores = Stores()
    async with table(TrippingArena, stores=stores, snapshot_interval_s=SNAPSHOT_S) as here:
        match = await here.create("arena", goal=3, orbs=20)
        ada, bob = here.player("ada"), here.player("bob")
        await ada.join(match)
        await bob.join(match)
        await ada.input(match, 1, {"x": 1.0, "y": 0.25})
        await trio.sleep(AFTER_A_SNAPSHOT_S)
        eve = here.player("eve")
        await eve.join(match)
        yield "arena-running", _match(stores, match)
        TrippingArena.trip = True
        await trio.sleep(AFTER_A_SNAPSHOT_S)
        await eve.leave(match)
        yield "arena-crashed", _match(stores, match)
        await _until_over(here, match, ada)
        yield "arena-ended", _match(stores, match)


async def _until_over(here: Table, match: str, player: Any) -> None:
    """Push the bodies about until somebody has won."""
    way = 0
    with trio.fail_after(300):
        while "Ended" not in here.log(match):
            way += 1
            push = {"x": (1, 0.3, -1, -0.3)[way % 4], "y": (0.3, 1, -0.2, -1)[way % 4]}
            await player.input(match, 1 + way, push)
            await trio.sleep(0.7)


def _match(stores: Stores, match: str) -> Entry:
    assert stores.snapshots is not None
    return Entry.of("match", match, stores.events, stores.snapshots)


SCENES: tuple[Callable[[], AsyncIterator[tuple[str, Entry]]], ...] = (room, tictactoe, arena)


async def play() -> dict[str, Entry]:
    """Every entry that today's code writes, by name."""
    return {name: entry for scene in SCENES async for name, entry in scene()}
