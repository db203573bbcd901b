"""What clients are told by an actor that is recovered from an entry of the corpus.

Versions are compared by this. The wire's messages stay the same within `v1` of the protocol, while
the form of a snapshot may change.
"""

from __future__ import annotations

from typing import Any

import msgspec

from actors.matches.messages import StartMatch
from actors.matches.old_directory import take_over_from
from actors.matches.rules.record import Created
from protocol.messages.envelope import Position
from protocol.messages.match import MatchEnded, MatchRecovered
from protocol.messages.room import RoomHistory, RoomJoin, RoomRecovered, RoomSend
from tests.actors.players import open_house
from tests.actors.table import Player, Stores, settled, table
from tests.corpus.entries import Entry, Told
from tests.corpus.scenes import GAMES, ROOM

ADA = "guest-id0"
"""The id of the house's first guest."""
_POSITIONS = ((1, 0), (1, 2), (1, 3), (2, 4), (1, 9))


async def told_by(entry: Entry) -> Told:
    """Bring an entry's actor back in each way that it can come back."""
    by_snapshot = await _read(entry, snapshot=True) if entry.snapshot is not None else None
    # The state of a running arena is in no event: without its snapshot it starts anew.
    lasting = entry.kind != "match" or not entry.key.startswith("arena") or _is_over(entry)
    return Told(by_snapshot, await _read(entry, snapshot=False) if lasting else None)


def _is_over(entry: Entry) -> bool:
    return entry.events[-1][4] == "Ended"


async def _read(entry: Entry, *, snapshot: bool) -> list[Any]:
    read = {"room": _room, "match": _match, "directory": _directory}
    events, snapshots = entry.stores(snapshot=snapshot)
    stores = Stores()
    stores.events, stores.snapshots = events, snapshots
    told = await read[entry.kind](entry, stores)
    # As JSON has it, so that it can be compared to the manifest.
    return msgspec.json.decode(msgspec.json.encode(told), type=list[Any])


async def _room(entry: Entry, stores: Stores) -> list[Any]:
    """Positions of all kinds, the history, the answer to a retry, and then something new."""
    told: list[Any] = []
    async with open_house(events=stores.events, snapshots=stores.snapshots) as house:
        token = house.context.tokens.issue("s-old", ADA, "ada")
        ada = house.connect()
        await ada.resume(token)
        for epoch, offset in _POSITIONS:
            player = house.connect()
            await player.resume(token, {f"room:{ROOM}": Position(epoch, offset)})
            await player.settle()
            told += player.got(RoomRecovered)
        told.append(await ada.ask(RoomJoin(room=ROOM)))
        told.append(await ada.ask(RoomHistory(room=ROOM)))
        told.append(await ada.ask(RoomSend(room=ROOM, body="again", key="k-1")))
        told.append((await ada.ask(RoomSend(room=ROOM, body="new"))).offset)
    return told


async def _match(entry: Entry, stores: Stores) -> list[Any]:
    """What a player is told who was away, and whether the match goes on."""
    told: list[Any] = []
    async with table(*GAMES, stores=stores) as here:
        created = msgspec.msgpack.decode(entry.events[0][5], type=Created)
        start = StartMatch(created.game, created.params, created.seed, created.at)
        told.append(await here.match(entry.key).ask(start))
        ada = here.player("ada")
        for epoch, offset in ((1, 0), (1, 2), (1, 99)):
            ada.connect()
            told.append(await _answer(ada, entry, epoch, offset))
            told += ada.got(MatchRecovered, MatchEnded)
        move = {"cell": 7} if created.game == "tictactoe" else {"x": 1, "y": 0}
        try:
            told.append(await ada.input(entry.key, 1000, move))
        except Exception as error:
            told.append(str(error))
        await settled()
    return told


async def _answer(player: Player, entry: Entry, epoch: int, offset: int) -> str:
    try:
        await player.resume(entry.key, epoch, offset)
    except Exception as error:
        return str(error)
    return "ok"


async def _directory(entry: Entry, stores: Stores) -> list[Any]:
    """What is listed, and what a retry of each creation gets, after the rows have taken over what
    this actor knew. There are none like it any more.
    """
    stores.rows.taken_over = False
    stores.rows.answer(await take_over_from(stores.events))
    async with table(*GAMES, stores=stores) as here:
        # Now, or the matches have been called, whose logs are not here.
        told: list[Any] = [await here.listed()]
        for key in ("k-1", "k-2"):
            opened = [row for row in entry.events if key.encode() in row[5]]
            told.append(await here.create("tictactoe", key=key) if opened else None)
        return told
