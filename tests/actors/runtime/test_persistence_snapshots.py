"""When persistent actors take a snapshot, and when they must not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import structlog
import trio

import actors

from .persistent import (
    Add,
    Added,
    Crash,
    Ledger,
    Rest,
    Scribble,
    Stores,
    Value,
    add,
    value,
)

Clock = trio.testing.MockClock


async def test_a_fenced_actor_leaves_no_snapshot(autojump_clock: Clock) -> None:
    stores = Stores()
    async with stores.system() as system:
        await add(system, 1)
        await stores.events.activate("ledger", "a")
        with structlog.testing.capture_logs(), pytest.raises(actors.Fenced):
            await add(system, 2)
        await trio.sleep(60)
    assert stores.snapshots.rows == {}


async def test_an_actor_that_changes_is_snapshotted_every_interval_and_then_no_more(
    autojump_clock: Clock,
) -> None:
    stores = Stores()
    async with stores.system() as system:
        await add(system, 1)
        assert stores.snapshots.rows == {}
        await trio.sleep(5.1)
        assert stores.snapshots.rows["ledger", "a"][2] == 1
        assert system.durability is not None
        assert system.durability.snapshotter is not None
        statistics = system.durability.snapshotter.statistics()
        assert statistics.saved == 1
        await trio.sleep(60)
        assert statistics.saved == 1
        await add(system, 2)
        await trio.sleep(5.1)
        assert stores.snapshots.rows["ledger", "a"][2] == 2


async def test_state_outside_events_is_in_the_next_snapshot(autojump_clock: Clock) -> None:
    stores = Stores()
    async with stores.system() as system:
        system.ref("ledger", "a").tell(Scribble("hello"))
        await trio.sleep(6)
        assert msgspec.msgpack.decode(stores.snapshots.rows["ledger", "a"][5])["note"] == "hello"
        system.ref("ledger", "a").tell(Scribble("bye"))
    async with stores.system() as system:
        assert (await value(system)).note == "bye"


async def test_passivation_takes_a_snapshot_and_the_next_message_brings_the_actor_back(
    autojump_clock: Clock,
) -> None:
    stores = Stores()
    async with stores.system() as system:
        await add(system, 1)
        system.ref("ledger", "a").tell(Scribble("kept"))
        system.ref("ledger", "a").tell(Rest())
        await trio.sleep(0.1)
        assert system.lookup("ledger", "a") is None
        assert stores.snapshots.rows["ledger", "a"][2] == 1
        assert (await value(system)) == Value(1, 1, 2, "kept", [1])
        assert system.durability is not None
        assert system.durability.replayed == 0


async def test_an_actor_woken_while_the_snapshot_store_is_away_has_its_newest_state(
    autojump_clock: Clock,
) -> None:
    stores = Stores()
    async with stores.system() as system:
        stores.snapshots.away = True
        system.ref("ledger", "a").tell(Scribble("newest"))
        system.ref("ledger", "a").tell(Rest())
        with structlog.testing.capture_logs():
            await trio.sleep(1)
            assert system.lookup("ledger", "a") is None
            assert (await value(system)).note == "newest"
        stores.snapshots.away = False


async def test_a_failure_leaves_a_snapshot_if_only_events_change_the_state(
    autojump_clock: Clock,
) -> None:
    stores = Stores()
    async with stores.system() as system:
        await add(system, 1, 2)
        with structlog.testing.capture_logs():
            system.ref("ledger", "a").tell(Crash())
            await trio.sleep(0.1)
        assert stores.snapshots.rows["ledger", "a"][2] == 2
        assert (await value(system)).epoch == 2
        assert system.durability is not None
        assert system.durability.replayed == 0


async def test_a_failure_leaves_no_snapshot_of_state_that_it_may_have_spoilt(
    autojump_clock: Clock,
) -> None:
    stores = Stores()
    async with stores.system() as system:
        await add(system, 1, 2)
        system.ref("ledger", "a").tell(Scribble("half"))
        with structlog.testing.capture_logs():
            system.ref("ledger", "a").tell(Crash())
            await trio.sleep(0.1)
        assert stores.snapshots.rows == {}
        assert (await value(system)) == Value(3, 2, 2, "", [1, 2])


async def test_a_discarded_snapshot_stays_away_and_the_events_stay(autojump_clock: Clock) -> None:
    class Mortal(Ledger):
        def on_stop(self) -> None:
            self.discard_snapshot()

    stores = Stores()
    async with stores.system(Mortal) as system:
        await add(system, 1)
        await trio.sleep(6)
        assert stores.snapshots.rows
        await add(system, 2)
    assert stores.snapshots.rows == {}
    assert stores.seqs() == [1, 2]


async def test_a_snapshot_that_cannot_be_taken_is_logged_and_the_actor_goes_on(
    autojump_clock: Clock,
) -> None:
    class Odd(Ledger):
        def snapshot(self) -> Any:
            return object()

    stores = Stores()
    with structlog.testing.capture_logs() as entries:
        async with stores.system(Odd) as system:
            await add(system, 1)
            await trio.sleep(6)
            assert await add(system, 2) == [3]
            assert system.durability is not None
            assert system.durability.unsnapshotable == 1
    assert "snapshot_failed" in [entry["event"] for entry in entries]
    assert stores.snapshots.rows == {}


async def test_an_actor_without_snapshots_is_never_snapshotted(autojump_clock: Clock) -> None:
    class Plain(actors.PersistentActor):
        events = (Added,)
        total = 0

        def __init__(self, key: str) -> None:
            super().__init__()

        @actors.handles(Add)
        def add(self, message: Add) -> actors.Future[None]:
            return self.persist(Added(message.amount))

        def apply(self, event: Added) -> None:
            self.total += event.amount

    stores = Stores()
    async with actors.ActorSystem(events=stores.events, snapshots=stores.snapshots) as system:
        system.register(actors.Kind(name="ledger", factory=Plain))
        await add(system, 1)
        await trio.sleep(10)
    assert stores.snapshots.rows == {}
