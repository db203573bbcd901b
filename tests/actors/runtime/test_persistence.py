"""Persistent actors over stores in memory, on a clock that jumps."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import structlog
import trio

import actors
from actors.runtime.stores import EventRow, SnapshotRow

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
    instance,
)

Clock = trio.testing.MockClock


async def add(system: actors.ActorSystem, *amounts: int, key: str = "a") -> list[int]:
    ref = system.ref("ledger", key)
    return [await future for future in [ref.ask(Add(amount)) for amount in amounts]]


async def value(system: actors.ActorSystem, key: str = "a") -> Value:
    answer: Value = await system.ref("ledger", key).ask(Get())
    return answer


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


async def test_state_comes_back_from_events_alone(autojump_clock: Clock) -> None:
    stores = Stores()
    async with stores.system(with_snapshots=False) as system:
        await add(system, 1, 2, 3)
    async with stores.system(with_snapshots=False) as system:
        assert (await value(system)) == Value(6, 3, 2, "", [1, 2, 3])
        assert instance(system).recovered_at == 3
        assert await add(system, 4) == [10]
    assert stores.seqs() == [1, 2, 3, 4]
    assert [row[3] for row in stores.events.rows("ledger", "a")] == [1, 1, 1, 2]


async def test_a_log_longer_than_a_page_is_replayed_whole(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    monkeypatch.setattr("actors.runtime.recovery.PAGE_ROWS", 7)
    stores = Stores()
    for count in (6, 7, 8, 21):
        for seq in range(1, count + 1):
            stores.events.put(row(seq))
        async with stores.system(with_snapshots=False) as system:
            assert (await value(system)).history == [1] * count


async def test_state_comes_back_from_the_snapshot_and_the_events_after_it(
    autojump_clock: Clock,
) -> None:
    stores = Stores()
    async with stores.system() as system:
        await add(system, 1, 2)
    assert stores.snapshots.rows["ledger", "a"][2] == 2
    stores.events.put(row(3, amount=7, epoch=1))
    async with stores.system() as system:
        assert (await value(system)).history == [1, 2, 7]
        assert instance(system).restored_from == 0  # restore() runs before the seq is known
        assert system.durability is not None
        assert system.durability.replayed == 1


async def test_only_the_last_events_are_replayed_for_an_actor_that_says_so(
    autojump_clock: Clock,
) -> None:
    class Recent(Ledger):
        replay_last = 2

    class Nothing(Ledger):
        replay_last = 0

    stores = Stores()
    for seq in range(1, 6):
        stores.events.put(row(seq, amount=seq))
    async with stores.system(Recent, with_snapshots=False) as system:
        assert (await value(system)) == Value(9, 5, 1, "", [4, 5])
        await add(system, 6)
    async with stores.system(Nothing, with_snapshots=False) as system:
        assert (await value(system)) == Value(0, 6, 2, "", [])
        await add(system, 7)
    assert stores.seqs() == [1, 2, 3, 4, 5, 6, 7]
    async with Stores().system(Recent, with_snapshots=False) as system:
        assert (await value(system)).seq == 0


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


def row(seq: int, amount: int = 1, epoch: int = 0, name: str = "Added") -> EventRow:
    return ("ledger", "a", seq, epoch, name, msgspec.msgpack.encode(Added(amount)), 0)


def snapshot_row(seq: int, payload: bytes, *, epoch: int = 9, schema: int = 1) -> SnapshotRow:
    return ("ledger", "a", seq, epoch, schema, payload)


GOOD = msgspec.msgpack.encode({"history": [70], "note": ""})


@pytest.mark.parametrize(
    ("snapshot", "reason"),
    [
        (snapshot_row(2, GOOD[:-3]), "cannot be restored"),
        (snapshot_row(2, b""), "cannot be restored"),
        (snapshot_row(2, msgspec.msgpack.encode({"history": [70]})), "cannot be restored"),
        (snapshot_row(2, GOOD, schema=2), "schema version 2 is newer than 1"),
        (snapshot_row(4, GOOD), "ahead of the log"),
        (snapshot_row(400, GOOD), "ahead of the log"),
        (snapshot_row(2, GOOD, epoch=0), "written by epoch 1"),
    ],
    ids=["torn", "empty", "half", "newer schema", "ahead", "far ahead", "other timeline"],
)
async def test_a_snapshot_that_cannot_be_used_is_ignored_and_the_log_says_why(
    snapshot: SnapshotRow, reason: str, autojump_clock: Clock
) -> None:
    stores = Stores()
    for seq in (1, 2, 3):
        stores.events.put(row(seq, amount=seq, epoch=1))
    stores.snapshots.rows["ledger", "a"] = snapshot
    with structlog.testing.capture_logs() as entries:
        async with stores.system() as system:
            assert (await value(system)).history == [1, 2, 3]
            assert instance(system).restored_from is None  # not the instance that was spoilt
            assert await add(system, 4) == [10]
    (ignored,) = [entry for entry in entries if entry["event"] == "snapshot_ignored"]
    assert reason in ignored["reason"]
    assert ignored["log_level"] == "warning"


async def test_a_snapshot_of_an_older_schema_is_the_actors_to_read(autojump_clock: Clock) -> None:
    class Second(Ledger):
        schema_version = 2

        def snapshot(self) -> Any:
            return [self.history]

        def restore(self, state: Any, schema: int) -> None:
            if schema == 1:
                super().restore(state, schema)
            else:
                (self.history,) = state

    stores = Stores()
    async with stores.system() as system:
        await add(system, 1, 2)
    async with stores.system(Second) as system:
        assert (await value(system)).history == [1, 2]
        assert system.durability is not None
        assert system.durability.replayed == 0
        await add(system, 3)
    assert stores.snapshots.rows["ledger", "a"][4] == 2
    async with stores.system(Second) as system:
        assert (await value(system)).history == [1, 2, 3]


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (row(2, name="Forgotten"), actors.UnreadableEvent),
        (("ledger", "a", 2, 0, "Added", b"\xc1", 0), actors.UnreadableEvent),
        (("ledger", "a", 2, 0, "Added", b"\x81\xa6amount\xa1x", 0), actors.UnreadableEvent),
        (None, actors.LogGap),
    ],
    ids=["unknown type", "torn", "wrong type of field", "missing"],
)
async def test_an_event_that_cannot_be_read_fails_the_actor_and_nobody_else(
    bad: EventRow | None, error: type[actors.RecoveryFailed], autojump_clock: Clock
) -> None:
    stores = Stores()
    for seq in (1, 2, 3):
        stores.events.put(row(seq, amount=seq))
    if bad is None:
        del stores.events._logs["ledger", "a"][2]
    else:
        stores.events.put(bad)
    with structlog.testing.capture_logs() as entries:
        async with stores.system(retry_failed_after_s=20.0) as system:
            future = system.ref("ledger", "a").ask(Get())
            with pytest.raises(actors.ActorDeadError):
                await future
            assert system.restarts == 0  # it would read the same log again
            with pytest.raises(actors.ActorFailed):
                await system.ref("ledger", "a").ask(Get())
            assert await add(system, 1, key="b") == [1]
            # Somebody mends the log.
            stores.events.put(row(2, amount=2))
            await trio.sleep(21)
            assert (await value(system)).history == [1, 2, 3]
    (failed,) = [entry for entry in entries if entry["event"] == "actor_failed"]
    reason = failed["exc_info"]
    assert type(reason) is error
    assert (reason.kind, reason.key, reason.seq) == ("ledger", "a", 2)


async def test_an_event_that_raises_in_apply_during_recovery_is_named(
    autojump_clock: Clock,
) -> None:
    class Strict(Ledger):
        def apply(self, event: Added) -> None:
            if event.amount < 0:
                raise ValueError("negative")

    stores = Stores()
    stores.events.put(row(1, amount=-1))
    with structlog.testing.capture_logs() as entries:
        async with stores.system(Strict) as system:
            with pytest.raises(actors.ActorDeadError):
                await value(system)
    (failed,) = [entry for entry in entries if entry["event"] == "actor_failed"]
    assert isinstance(failed["exc_info"], actors.RecoveryFailed)
    assert "ledger/a cannot be recovered: event 1 (Added) cannot be applied" in str(
        failed["exc_info"]
    )


async def test_recovery_waits_for_an_event_store_that_is_away(autojump_clock: Clock) -> None:
    stores = Stores()
    stores.events.put(row(1))
    stores.events.away = True
    async with stores.system() as system:
        future = system.ref("ledger", "a").ask(Get(), timeout=60)
        with structlog.testing.capture_logs() as entries:
            await trio.sleep(20)
        assert not future.done
        stores.events.away = False
        assert (await future).history == [1]
    assert 1 <= len([e for e in entries if e["event"] == "recovery_waits"]) <= 4


async def test_recovery_goes_on_without_snapshots_when_their_store_is_away(
    autojump_clock: Clock,
) -> None:
    stores = Stores()
    async with stores.system() as system:
        await add(system, 1, 2)
    stores.snapshots.away = True
    with structlog.testing.capture_logs() as entries:
        async with stores.system() as system:
            assert (await value(system)).history == [1, 2]
    assert "snapshot_unavailable" in [entry["event"] for entry in entries]


async def test_recovery_waits_for_snapshots_when_the_actor_needs_them(
    autojump_clock: Clock,
) -> None:
    class Needy(Ledger):
        needs_snapshot = True

    stores = Stores()
    async with stores.system(Needy) as system:
        await add(system, 1)
        system.ref("ledger", "a").tell(Scribble("only here"))
    stores.snapshots.away = True
    with structlog.testing.capture_logs():
        async with stores.system(Needy) as system:
            future = system.ref("ledger", "a").ask(Get(), timeout=60)
            await trio.sleep(20)
            assert not future.done
            stores.snapshots.away = False
            assert (await future).note == "only here"


async def test_a_name_that_the_store_can_never_hold_fails_the_actor(autojump_clock: Clock) -> None:
    class Refused(Exception):  # noqa: N818 - it is one
        permanent = True

    class Squeamish(type(Stores().events)):  # type: ignore[misc]  # a base made at run time
        async def activate(self, kind: str, key: str) -> int:
            raise Refused(key)

    stores = Stores()
    stores.events = Squeamish()
    with structlog.testing.capture_logs() as entries:
        async with stores.system(retry_failed_after_s=60) as system:
            with pytest.raises(actors.ActorDeadError):
                await system.ref("ledger", "a").ask(Get(), timeout=30)
    failed = [entry for entry in entries if entry["event"] == "actor_failed"]
    assert all(isinstance(entry["exc_info"], Refused) for entry in failed)


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


def test_two_events_of_one_name_are_refused_when_the_class_is_made() -> None:
    class Other(msgspec.Struct, tag="Added"):
        pass

    with pytest.raises(TypeError, match="same name"):
        type("Twice", (Ledger,), {"events": (Added, Other)})


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
