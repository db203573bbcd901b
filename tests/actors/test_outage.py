"""Ten minutes without a store: the memory that a node needs does not grow with time."""

from __future__ import annotations

import gc
import itertools
import tracemalloc

import msgspec
import pytest
import structlog
import trio
from trio.testing import MockClock

from actors.chat.rules.room_log import Posted
from actors.chat.settings import RoomSettings
from actors.edge.failures import MOST_RETRIES
from actors.runtime.durability import DurabilitySettings
from actors.runtime.journal_settings import JournalSettings
from actors.runtime.memory import MemoryEventStore, MemorySnapshotStore
from protocol.messages.envelope import ErrorReply, Ok
from protocol.messages.room import RoomJoin, RoomSend
from tests.actors.players import House, Player, open_house, unlimited

EACH_S = 2.0
BODY = "x" * 300
GROWTH_BYTES = 4_000_000
"""How much memory may grow in minutes 3 to 10, for 630 events that wait, or are in the store in
memory. Every snapshot that was taken meanwhile would be 25 MB: three rooms, one in 2 s, 40 kB
each."""

ROOMS = RoomSettings(snapshot_interval_s=1.0)
ROOMY = DurabilitySettings()
FULL = DurabilitySettings(journal=JournalSettings(max_events=100))


class Talk:
    """Players who say something now and then, each in a room of their own, answered or not."""

    def __init__(self, players: list[Player]) -> None:
        self.players = players
        self.acknowledged: set[str] = set()
        self._keys: dict[int, str] = {}
        self._refs = itertools.count(1000)

    async def go_on(self, minutes: float) -> None:
        for _ in range(round(minutes * 60 / EACH_S)):
            for n, player in enumerate(self.players):
                ref = next(self._refs)
                self._keys[ref] = key = f"{n}-{ref}"
                player.tell(RoomSend(room=f"room{n}", body=BODY, key=key, ref=ref))
            await trio.sleep(EACH_S)
            for player in self.players:
                player.take()
                for reply in player.replies:
                    assert reply.ref is not None
                    key = self._keys.pop(reply.ref)  # one answer each
                    if isinstance(reply, Ok):
                        self.acknowledged.add(key)
                player.replies.clear()
                player.pushes.clear()


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _waiting_snapshots(house: House) -> int:
    assert house.system.durability is not None
    assert house.system.durability.snapshotter is not None
    return house.system.durability.snapshotter.statistics().waiting_rows


@pytest.mark.parametrize("journal", [ROOMY, FULL], ids=["with room in the journal", "full"])
@pytest.mark.parametrize("away", ["events", "snapshots", "both"])
async def test_ten_minutes_without_a_store_hold_no_more_than_three(
    away: str, journal: DurabilitySettings, autojump_clock: MockClock
) -> None:
    events, snapshots = MemoryEventStore(), MemorySnapshotStore()
    with structlog.testing.capture_logs() as logged:
        async with open_house(
            events=events, snapshots=snapshots, rooms=ROOMS, durability=journal
        ) as house:
            players = [await house.player(f"p{n}") for n in range(3)]
            for n, player in enumerate(players):
                await player.ask(RoomJoin(room=f"room{n}"))
            talk = Talk(players)
            await talk.go_on(5)  # until the rooms hold all that they will
            events.away = away in {"events", "both"}
            snapshots.away = away in {"snapshots", "both"}
            tracemalloc.start()
            try:
                await talk.go_on(3)
                logged.clear()
                after_three = _traced()
                await talk.go_on(7)
                grown = _traced() - after_three
            finally:
                tracemalloc.stop()
            assert grown < GROWTH_BYTES
            assert _waiting_snapshots(house) <= 3
            assert len(logged) < 7 * 60 * 4  # a line a second for each that tries again
            events.away = snapshots.away = False
            await talk.go_on(1)
            for n, player in enumerate(players):
                last = await player.ask(RoomSend(room=f"room{n}", body="and on"))
                rows = events.rows("room", f"room{n}")
                assert [row[2] for row in rows] == list(range(1, last.offset + 1))
                keys = [msgspec.msgpack.decode(row[5], type=Posted).key for row in rows[:-1]]
                assert len(set(keys)) == len(keys)
                assert {key for key in talk.acknowledged if key[0] == str(n)} <= set(keys)


async def test_retries_of_one_send_do_not_pile_up_either(autojump_clock: MockClock) -> None:
    events = MemoryEventStore()
    async with open_house(events=events, sessions=unlimited(in_flight=1000)) as house:
        ada = await house.player("ada")
        await ada.ask(RoomJoin(room="lobby"))
        await ada.ask(RoomSend(room="lobby", body="hello"))
        events.away = True
        for ref in range(1, 101):
            ada.tell(RoomSend(room="lobby", body="hello", key="once", ref=ref))
        await ada.settle()
        refused = [reply for reply in ada.replies if isinstance(reply, ErrorReply)]
        assert {reply.code for reply in refused} == {"unavailable"}
        assert 100 - MOST_RETRIES <= len(refused) < 100
        await trio.sleep(600)
        events.away = False
        await trio.sleep(5)
        ada.take()
        ada.replies.clear()
        sent = await ada.ask(RoomSend(room="lobby", body="hello", key="once"))
        assert sent.offset == 2
        assert len(events.rows("room", "lobby")) == 2
