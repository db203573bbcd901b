"""History that is deleted after some time: the rooms that had it, and the actor that deletes it."""

from __future__ import annotations

from functools import partial

import trio
from trio.testing import MockClock

from actors import ActorSystem, ChildSpec
from actors.chat.service import trimming
from actors.chat.settings import RoomSettings
from actors.matches.service import dropping
from actors.matches.settings import MatchSettings
from actors.retention import Retention
from actors.runtime.memory import MemoryEventStore, MemorySnapshotStore
from persistence import EventStore, PostgresSettings
from persistence.keeping import Keeping
from persistence.postgres import EventKeeper, EventReader, EventWriter, migrate
from protocol.messages.room import History, RoomHistory, RoomSend
from tests.actors.players import Player, joined, open_house
from tests.persistence.asking import event

KEPT = RoomSettings(recent=10, keys=20, history_messages=25)


def trim(events: MemoryEventStore, first: int) -> None:
    """Delete what is before `first`."""
    for row in events.rows("room", "lobby"):
        if row[2] < first:
            events.delete("room", "lobby", row[2])


async def say(player: Player, first: int, last: int) -> None:
    for number in range(first, last + 1):
        await player.ask(RoomSend(room="lobby", body=f"{number}", key=f"{number}"))


async def page(player: Player, before: int, limit: int) -> tuple[list[int], bool]:
    history: History = await player.ask(RoomHistory(room="lobby", before=before, limit=limit))
    assert all(int(message.body) == message.offset for message in history.messages)
    return [message.offset for message in history.messages], history.more


async def test_paging_back_ends_where_history_begins(autojump_clock: MockClock) -> None:
    events = MemoryEventStore()
    async with open_house(events=events, rooms=KEPT) as house:
        ada = await joined(house, "ada")
        await say(ada, 1, 50)
        trim(events, 26)
        assert await page(ada, 0, 5) == ([46, 47, 48, 49, 50], True)
        assert await page(ada, 0, 10) == (list(range(41, 51)), True)
        assert await page(ada, 31, 5) == ([26, 27, 28, 29, 30], False)
        assert await page(ada, 32, 5) == ([27, 28, 29, 30, 31], True)
        assert await page(ada, 31, 100) == ([26, 27, 28, 29, 30], False)
        assert await page(ada, 26, 5) == ([], False)
        assert await page(ada, 10, 5) == ([], False)
        assert await page(ada, 0, 200) == (list(range(26, 51)), False)
        trim(events, 41)  # memory holds all that there is
        assert await page(ada, 0, 10) == (list(range(41, 51)), False)
        assert await page(ada, 45, 10) == ([41, 42, 43, 44], False)
        trim(events, 50)  # and more than there is
        assert await page(ada, 0, 5) == ([46, 47, 48, 49, 50], True)
        assert await page(ada, 0, 10) == (list(range(41, 51)), False)


async def test_a_room_comes_back_from_a_log_that_begins_late(autojump_clock: MockClock) -> None:
    for snapshots in (MemorySnapshotStore(), None):
        for first in (35, 50):
            events = MemoryEventStore()
            async with open_house(events=events, snapshots=snapshots, rooms=KEPT) as house:
                await say(await joined(house, "ada"), 1, 50)
            trim(events, first)
            async with open_house(events=events, snapshots=snapshots, rooms=KEPT) as house:
                ada = await joined(house, "ada")
                shown = await page(ada, 0, 5)
                assert shown[0][-1] == 50
                again = await ada.ask(RoomSend(room="lobby", body="51"))
                assert again.offset == 51
            if snapshots is not None:
                snapshots.rows.clear()


async def test_a_stale_snapshot_from_before_the_log_begins_is_not_believed(
    autojump_clock: MockClock,
) -> None:
    events, snapshots = MemoryEventStore(), MemorySnapshotStore()
    async with open_house(events=events, snapshots=snapshots, rooms=KEPT) as house:
        await say(await joined(house, "ada"), 1, 10)
    old = dict(snapshots.rows)
    async with open_house(events=events, snapshots=snapshots, rooms=KEPT) as house:
        await say(await joined(house, "ada"), 11, 50)
    snapshots.rows.update(old)
    trim(events, 40)
    async with open_house(events=events, snapshots=snapshots, rooms=KEPT) as house:
        assert await page(await joined(house, "ada"), 0, 100) == (list(range(40, 51)), False)


async def test_rounds_go_on_until_all_that_is_old_is_gone(
    postgres: PostgresSettings, unique: str
) -> None:
    settings = PostgresSettings(url=postgres.url, schema=unique)
    migrate(settings)
    rooms, matches = RoomSettings(history_messages=3), MatchSettings(log_s=3600.0)
    async with ActorSystem("test") as system:
        store = EventStore(system.start(EventWriter, settings), system.start(EventReader, settings))
        keeping = Keeping(system.start(EventKeeper, settings), system.ref("nobody", "asks"))
        for kind in ("room", "match"):
            for key in ("a", "b"):
                epoch = await store.activate(kind, key)
                await store.append([event(kind, key, seq, epoch) for seq in range(1, 901)])
        row = event("match", "a", 901)
        await store.append([(*row[:4], "Ended", *row[5:])])

        def now_us() -> int:
            return row[6] + 3601 * 10**6

        steps = {
            "rooms": trimming(keeping, rooms, now_us),
            "matches": dropping(keeping, matches, now_us),
        }
        specs = [
            ChildSpec(id=what, factory=partial(Retention, what, step))
            for what, step in steps.items()
        ]
        system.supervise(specs, key="retention")
        with trio.fail_after(60):
            while len(await store.read("room", "b", after=0, limit=2000)) > 3 or await store.epoch(
                "match", "a"
            ):
                await trio.sleep(0.05)
        for key in ("a", "b"):
            left = await store.read("room", key, after=0, limit=2000)
            assert [one[2] for one in left] == [898, 899, 900]
        assert await store.read("match", "a", after=0, limit=2000) == []
        assert len(await store.read("match", "b", after=0, limit=2000)) == 900
