"""Persistent actors over stores in memory: what they write, and which incarnation may write."""

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
    Get,
    Ledger,
    Nap,
    Rest,
    Scribble,
    Stores,
    Value,
    add,
    instance,
    row,
    value,
)

Clock = trio.testing.MockClock


async def test_an_answer_means_that_the_event_is_committed(autojump_clock: Clock) -> None:
    stores = Stores()
    async with stores.system() as system:
        await add(system, 1)
        stores.events.delay_s = 1.0
        future = system.ref("ledger", "a").ask(Add(2))
        await trio.sleep(0.5)
        assert (await value(system)).history == [1, 2]  # applied, and the mailbox goes on
        assert stores.seqs() == [1]
        assert not future.done
        assert await future == 3
        assert stores.seqs() == [1, 2]


async def test_events_of_many_actors_are_committed_together(autojump_clock: Clock) -> None:
    stores = Stores()
    async with stores.system() as system:
        keys = [str(n) for n in range(20)]
        for key in keys:
            await value(system, key)
        stores.events.delay_s = 0.01
        stores.events.batches.clear()
        futures = [system.ref("ledger", key).ask(Add(1)) for key in keys for _ in range(10)]
        for future in futures:
            await future
        assert sum(stores.events.batches) == 200
        assert len(stores.events.batches) <= 3


async def test_the_store_being_busy_is_said_before_anything_is_applied(
    autojump_clock: Clock,
) -> None:
    stores = Stores()
    settings = actors.DurabilitySettings(journal=actors.JournalSettings(max_events=2))
    async with stores.system(settings=settings) as system:
        await value(system)
        stores.events.away = True
        ref = system.ref("ledger", "a")
        kept = [ref.ask(Add(1), timeout=60), ref.ask(Add(2), timeout=60)]
        with pytest.raises(actors.StoreBusy):
            await ref.ask(Add(3))
        assert (await value(system)).history == [1, 2]
        with structlog.testing.capture_logs():
            await trio.sleep(10)
        stores.events.away = False
        assert [await future for future in kept] == [1, 3]
        assert await add(system, 4) == [7]
    assert stores.seqs() == [1, 2, 3]


async def test_an_actor_asks_for_room_in_the_log_before_it_acts(autojump_clock: Clock) -> None:
    acted: list[str] = []

    class Careful(Ledger):
        @actors.handles(str)
        def act(self, message: str) -> None:
            self.check_capacity(Added(1))
            acted.append(message)

    stores = Stores()
    settings = actors.DurabilitySettings(journal=actors.JournalSettings(max_events=2))
    async with stores.system(Careful, settings=settings) as system:
        ref = system.ref("ledger", "a")
        await ref.ask("room")
        stores.events.away = True
        kept = [ref.ask(Add(1), timeout=60), ref.ask(Add(2), timeout=60)]
        with pytest.raises(actors.StoreBusy):
            await ref.ask("no room")
        with structlog.testing.capture_logs():
            await trio.sleep(10)
        stores.events.away = False
        assert [await future for future in kept] == [1, 3]
        await ref.ask("room again")
    assert acted == ["room", "room again"]


async def test_an_event_that_cannot_be_applied_never_reaches_the_log(autojump_clock: Clock) -> None:
    class Strict(Ledger):
        def apply(self, event: Added) -> None:
            super().apply(event)
            if event.amount < 0:
                raise ValueError("negative")

    stores = Stores()
    async with stores.system(Strict) as system:
        await add(system, 1)
        with structlog.testing.capture_logs(), pytest.raises(ValueError, match="negative"):
            await add(system, -1)
        assert (await value(system)).history == [1]
    assert stores.seqs() == [1]
    assert stores.snapshots.rows["ledger", "a"][2] == 1


async def test_a_crash_with_appends_on_their_way_loses_none_of_them(autojump_clock: Clock) -> None:
    stores = Stores()
    async with stores.system() as system:
        await add(system, 1)
        stores.events.delay_s = 1.0
        ref = system.ref("ledger", "a")
        kept = [ref.ask(Add(amount), timeout=60) for amount in (2, 3)]
        ref.tell(Crash())
        after = ref.ask(Add(4), timeout=60)
        with structlog.testing.capture_logs():
            assert [await future for future in kept] == [3, 6]
            assert await after == 10
        assert (await value(system)) == Value(10, 4, 2, "", [1, 2, 3, 4])
    assert stores.seqs() == [1, 2, 3, 4]


async def test_a_fenced_actor_fails_what_waits_and_comes_back_from_the_log(
    autojump_clock: Clock,
) -> None:
    stores = Stores()
    async with stores.system() as system:
        await add(system, 1)
        # Another node takes over and writes.
        epoch = await stores.events.activate("ledger", "a")
        stores.events.put(row(2, amount=50, epoch=epoch))
        ref = system.ref("ledger", "a")
        with structlog.testing.capture_logs() as entries:
            futures = [ref.ask(Add(2)), ref.ask(Add(3))]
            for future in futures:
                with pytest.raises(actors.Fenced):
                    await future
            assert (await value(system)) == Value(51, 2, 3, "", [1, 50])
        assert "fenced" in [entry["event"] for entry in entries]
        assert await add(system, 4) == [55]
    assert stores.seqs() == [1, 2, 3]


async def test_what_waits_for_a_fenced_actor_is_handled_by_the_next_incarnation(
    autojump_clock: Clock,
) -> None:
    stores = Stores()
    async with stores.system() as system:
        await add(system, 1)
        ref = system.ref("ledger", "a")
        await stores.events.activate("ledger", "a")
        with structlog.testing.capture_logs():
            lost = ref.ask(Add(2), timeout=60)
            ref.tell(Nap(5.0))
            waiting = ref.ask(Add(3), timeout=60)
            with pytest.raises(actors.Fenced):
                await lost
            assert await waiting == 4
        assert (await value(system)).history == [1, 3]


async def test_a_fenced_actor_that_no_kind_brings_back_is_restarted(autojump_clock: Clock) -> None:
    stores = Stores()
    async with actors.ActorSystem(events=stores.events, snapshots=stores.snapshots) as system:
        ref = system.start(Ledger, kind="ledger", key="a")
        assert await ref.ask(Add(1)) == 1
        await stores.events.activate("ledger", "a")
        with structlog.testing.capture_logs():
            with pytest.raises(actors.Fenced):
                await ref.ask(Add(2))
            assert await ref.ask(Add(3)) == 4
        assert (await ref.ask(Get())).epoch == 3


async def test_a_stopping_system_commits_and_snapshots_what_is_left(autojump_clock: Clock) -> None:
    stores = Stores()
    async with stores.system() as system:
        await value(system)
        stores.events.delay_s = stores.snapshots.delay_s = 1.0
        future = system.ref("ledger", "a").ask(Add(5))
        await trio.sleep(0)
    assert future.done
    assert stores.seqs() == [1]
    assert stores.snapshots.rows["ledger", "a"][2] == 1


async def test_a_stopping_system_gives_up_on_a_store_that_stays_away_and_says_so(
    autojump_clock: Clock,
) -> None:
    stores = Stores()
    settings = actors.DurabilitySettings(
        journal=actors.JournalSettings(drain_s=3.0),
        snapshots=actors.SnapshotSettings(flush_s=2.0),
    )
    with structlog.testing.capture_logs() as entries:
        async with stores.system(settings=settings) as system:
            await value(system)
            stores.events.away = stores.snapshots.away = True
            future = system.ref("ledger", "a").ask(Add(5), timeout=60)
            system.ref("ledger", "b").tell(Add(5))
            await trio.sleep(0.1)
            stopped_at = trio.current_time()
            system.ref("ledger", "c").tell(Scribble("x"))
    with pytest.raises(actors.JournalClosed):
        future.result()
    assert "events_not_committed" in [entry["event"] for entry in entries]
    assert trio.current_time() - stopped_at < 15


async def test_actors_started_before_the_stores_stop_after_the_journal_has_drained(
    autojump_clock: Clock,
) -> None:
    order: list[str] = []

    class StoreActor(actors.Actor):
        def on_stop(self) -> None:
            order.append("store")

    class Late(Ledger):
        def on_stop(self) -> None:
            order.append("actor")
            self.persist(Added(9))

    class Noting(type(Stores().events)):  # type: ignore[misc]  # a base made at run time
        async def append(self, rows: Any) -> Any:
            await trio.sleep(1)
            order.append("append")
            return await super().append(rows)

    stores = Stores()
    async with actors.ActorSystem() as system:
        system.start(StoreActor)
        system.use_stores(Noting(), stores.snapshots)
        system.register(actors.Kind(name="ledger", factory=Late))
        await value(system)
    assert order == ["actor", "append", "store"]
    assert stores.snapshots.rows["ledger", "a"][2] == 1


async def test_a_persistent_actor_in_a_system_without_stores_says_what_is_missing(
    autojump_clock: Clock,
) -> None:
    with structlog.testing.capture_logs() as entries:
        async with actors.ActorSystem() as system:
            system.register(actors.Kind(name="ledger", factory=Ledger))
            with pytest.raises(actors.ActorDeadError):
                await system.ref("ledger", "a").ask(Get())
            with pytest.raises(RuntimeError, match="no stores"):
                _ = system.journal
    assert any("has no stores" in str(entry.get("exc_info")) for entry in entries)


async def test_an_undeclared_event_is_a_type_error(autojump_clock: Clock) -> None:
    class Careless(Ledger):
        events = ()

    async with Stores().system(Careless) as system:
        with structlog.testing.capture_logs(), pytest.raises(TypeError, match="not among"):
            await add(system, 1)


def deep() -> list[Any]:
    """Return lists that nest deeper than an encoder follows."""
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    return nested


@pytest.mark.parametrize("amount", [2**70, -(2**64), "\ud800", {"\ud800": 1}, object(), deep()])
async def test_an_event_that_cannot_be_encoded_is_a_type_error_and_not_applied(
    autojump_clock: Clock, amount: Any
) -> None:
    class Hasty(Ledger):
        @actors.handles(Add)
        def add(self, message: Add) -> actors.Future[int]:
            with pytest.raises(TypeError, match="Added cannot be encoded"):
                self.persist(Added(amount))
            return self.persist(Added(message.amount))

    async with Stores().system(Hasty) as system:
        await add(system, 1)
        assert (await value(system)).history == [1]


async def test_an_event_that_was_renamed_keeps_its_name_in_the_log_by_its_tag(
    autojump_clock: Clock,
) -> None:
    class Raised(msgspec.Struct, frozen=True, tag="Added"):
        amount: int

    class Renamed(Ledger):
        events = (Raised,)

        def add(self, message: Add) -> actors.Future[int]:
            return self.persist(Raised(message.amount))

    stores = Stores()
    async with stores.system(Renamed) as system:
        await add(system, 5)
    assert stores.events.rows("ledger", "a")[0][4] == "Added"
    async with stores.system(Renamed, with_snapshots=False) as system:
        assert (await value(system)).history == [5]


async def test_persisting_in_apply_or_after_the_end_is_a_mistake_that_is_named(
    autojump_clock: Clock,
) -> None:
    class Nested(Ledger):
        def apply(self, event: Added) -> None:
            super().apply(event)
            if event.amount == 1:
                self.persist(Added(2))

    stores = Stores()
    async with stores.system() as system:
        await add(system, 1)
        old = instance(system)
        system.ref("ledger", "a").tell(Rest())
        await trio.sleep(0.1)
        with pytest.raises(RuntimeError, match="has ended"):
            old.persist(Added(1))
    async with stores.system(Nested) as system:
        with structlog.testing.capture_logs(), pytest.raises(RuntimeError, match="not persist"):
            await add(system, 1, key="b")


async def test_stores_can_be_given_once(autojump_clock: Clock) -> None:
    stores = Stores()
    async with stores.system() as system:
        with pytest.raises(RuntimeError, match="already"):
            system.use_stores(stores.events)


@pytest.mark.parametrize("error", [ValueError, actors.Refusal])
async def test_what_is_persisted_stays_though_its_handler_raises_after_it(
    autojump_clock: object, error: type[Exception]
) -> None:
    class Late(Ledger):
        @actors.handles(str)
        def add_and_raise(self, message: str) -> None:
            self.persist(Added(7))
            raise error(message)

    stores = Stores()
    async with stores.system(Late) as system:
        ledger = system.ref("ledger", "a")
        with pytest.raises(error):
            await ledger.ask("too late")
        assert (await ledger.ask(Get())).total == 7
    assert stores.seqs() == [1]
