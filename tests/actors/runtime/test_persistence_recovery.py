"""How persistent actors recover from whatever the stores hold."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import structlog
import trio

import actors
from actors.runtime.stores import EventRow, SnapshotRow

from .persistent import (
    Added,
    Get,
    Ledger,
    Scribble,
    Stores,
    Value,
    add,
    instance,
    row,
    value,
)

Clock = trio.testing.MockClock


def snapshot_row(seq: int, payload: bytes, *, epoch: int = 9, schema: int = 1) -> SnapshotRow:
    return ("ledger", "a", seq, epoch, schema, payload)


GOOD = msgspec.msgpack.encode({"history": [70], "note": ""})


async def test_state_comes_back_from_events_alone(autojump_clock: Clock) -> None:
    stores = Stores()
    async with stores.system(with_snapshots=False) as system:
        await add(system, 1, 2, 3)
    async with stores.system(with_snapshots=False) as system:
        assert (await value(system)) == Value(6, 3, 2, "", [1, 2, 3])
        assert instance(system).started_at == 3
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


class Sum(msgspec.Struct, frozen=True):
    """All that was added so far."""

    total: int


class Checkpointed(Ledger):
    events = (Added, Sum)
    checkpoint = Sum

    def apply(self, event: Added | Sum) -> None:
        if isinstance(event, Sum):
            self.history = [event.total]
        else:
            super().apply(event)


@pytest.mark.parametrize("page", [1, 2, 3, 1000])
@pytest.mark.parametrize("at", [1, 3, 5, 6])
async def test_from_its_last_checkpoint_on_a_log_is_replayed_and_no_more(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock, at: int, page: int
) -> None:
    monkeypatch.setattr("actors.runtime.recovery.PAGE_ROWS", page)
    stores = Stores()
    for seq in range(1, 7):
        # What comes before it could not even be decoded.
        stores.events.put(row(seq) if seq > at else (*row(seq, name="Sum")[:5], b"", 0))
    stores.events.put((*row(at, name="Sum")[:5], msgspec.msgpack.encode(Sum(70)), 0))
    async with stores.system(Checkpointed, with_snapshots=False) as system:
        assert (await value(system)) == Value(70 + 6 - at, 6, 1, "", [70] + [1] * (6 - at))
        assert system.durability is not None
        assert system.durability.replayed == 7 - at
        await add(system, 9)
    assert stores.seqs() == [1, 2, 3, 4, 5, 6, 7]


async def test_a_log_without_a_checkpoint_is_replayed_whole(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    monkeypatch.setattr("actors.runtime.recovery.PAGE_ROWS", 3)
    stores = Stores()
    async with stores.system(Checkpointed, with_snapshots=False) as system:
        assert (await value(system)).history == []
    for seq in range(1, 8):
        stores.events.put(row(seq, amount=seq))
    async with stores.system(Checkpointed, with_snapshots=False) as system:
        assert (await value(system)).history == [1, 2, 3, 4, 5, 6, 7]


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
    await stores.events.activate("ledger", "a")
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


async def test_a_first_incarnation_asks_for_no_snapshot(autojump_clock: Clock) -> None:
    stores = Stores()
    stores.snapshots.rows["ledger", "a"] = ("ledger", "a", 9, 9, 1, b"of another database")
    with structlog.testing.capture_logs() as entries:
        async with stores.system() as system:
            assert await add(system, 1) == [1]
    assert not [entry for entry in entries if entry["event"] == "snapshot_ignored"]


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
        stores.events.delete("ledger", "a", 2)
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


def test_two_events_of_one_name_are_refused_when_the_class_is_made() -> None:
    class Other(msgspec.Struct, tag="Added"):
        pass

    with pytest.raises(TypeError, match="same name"):
        type("Twice", (Ledger,), {"events": (Added, Other)})
