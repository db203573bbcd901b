"""The snapshotter over a store in memory, on a mock clock."""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.runtime.commit_queue import Writer
from actors.runtime.memory import MemorySnapshotStore
from actors.runtime.snapshots import SnapshotSettings, Snapshotter
from actors.runtime.stores import SnapshotRow


class CountingStore(MemorySnapshotStore):
    def __init__(self) -> None:
        super().__init__()
        self.saves: list[int] = []

    async def save(self, rows: Sequence[SnapshotRow]) -> None:
        await super().save(rows)
        self.saves.append(len(rows))


@asynccontextmanager
async def running(store: MemorySnapshotStore, **overrides: Any) -> AsyncIterator[Snapshotter]:
    snapshotter = Snapshotter(store, SnapshotSettings(**overrides), rng=random.Random(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(snapshotter.run)
        yield snapshotter
        nursery.cancel_scope.cancel()


def writer_at(key: str, *, queued: int, committed: int) -> Writer:
    writer = Writer("k", key, epoch=1, seq=committed)
    writer.queued = queued
    return writer


def commit(writer: Writer, seq: int) -> None:
    writer.committed = seq
    for callback in writer.ready():
        callback()


def row(key: str, seq: int, payload: bytes = b"x") -> SnapshotRow:
    return ("k", key, seq, 1, 1, payload)


async def test_a_snapshot_is_saved_only_once_its_seq_is_committed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = MemorySnapshotStore()
    async with running(store) as snapshotter:
        writer = writer_at("a", queued=3, committed=1)
        snapshotter.offer(row("a", 3), writer)
        await trio.sleep(60)
        commit(writer, 2)
        await trio.sleep(60)
        assert store.rows == {}
        commit(writer, 3)
        await snapshotter.flush()
        assert store.rows == {("k", "a"): row("a", 3)}


async def test_only_the_newest_of_an_actor_is_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = CountingStore()
    store.away = True
    with structlog.testing.capture_logs() as entries:
        async with running(store) as snapshotter:
            writer = writer_at("a", queued=9, committed=9)
            for seq in range(10):
                snapshotter.offer(row("a", seq), writer)
                await trio.sleep(1)
            assert snapshotter.statistics().waiting_rows == 1
            assert snapshotter.statistics().waiting_bytes == 1
            assert await snapshotter.load("k", "a") == row("a", 9)
            store.away = False
            await snapshotter.flush()
    assert store.rows == {("k", "a"): row("a", 9)}
    assert store.saves == [1]
    assert entries[-1]["event"] == "snapshot_store_is_back"


async def test_what_a_newer_snapshot_replaced_is_kept_by_nothing_while_its_events_wait(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """For ten minutes an actor writes and takes a snapshot each second, and nothing commits."""
    store = MemorySnapshotStore()
    payloads = [bytes(20_000) for _ in range(600)]
    unshared = sys.getrefcount(payloads[0])
    async with running(store) as snapshotter:
        writer = writer_at("a", queued=600, committed=0)
        for seq, payload in enumerate(payloads, 1):
            snapshotter.offer(row("a", seq, payload), writer)
            await trio.sleep(1)
        statistics = snapshotter.statistics()
        assert (statistics.waiting_rows, statistics.waiting_bytes) == (1, 20_000)
        kept = [seq for seq in range(600) if sys.getrefcount(payloads[seq]) > unshared]
        assert kept == [599]
        commit(writer, 599)
        await trio.sleep(60)
        assert store.rows == {}
        commit(writer, 600)
        await snapshotter.flush()
        assert store.rows["k", "a"][2] == 600


async def test_snapshots_of_many_actors_go_together(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = CountingStore()
    store.delay_s = 1.0
    async with running(store, max_batch_rows=50) as snapshotter:
        for n in range(121):
            snapshotter.offer(row(str(n), 0), writer_at(str(n), queued=0, committed=0))
        await snapshotter.flush()
    assert store.saves == [50, 50, 21]
    assert len(store.rows) == 121


async def test_a_newer_snapshot_that_comes_during_a_save_is_saved_after_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = CountingStore()
    store.delay_s = 1.0
    async with running(store) as snapshotter:
        writer = writer_at("a", queued=2, committed=2)
        snapshotter.offer(row("a", 1), writer)
        await trio.sleep(0.5)
        snapshotter.offer(row("a", 2), writer)
        await snapshotter.flush()
    assert store.saves == [1, 1]
    assert store.rows["k", "a"][2] == 2


async def test_a_fenced_actors_snapshot_is_forgotten(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = MemorySnapshotStore()
    async with running(store) as snapshotter:
        writer = writer_at("a", queued=3, committed=1)
        snapshotter.offer(row("a", 3), writer)
        writer.fenced = True
        commit(writer, 1)
        await snapshotter.flush()
    assert store.rows == {}


async def test_past_its_bound_the_oldest_is_dropped_and_counted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = MemorySnapshotStore()
    store.away = True
    with structlog.testing.capture_logs():
        async with running(store, max_rows=3, max_bytes=250) as snapshotter:
            for n in range(5):
                snapshotter.offer(row(str(n), 0), writer_at(str(n), queued=0, committed=0))
            assert snapshotter.statistics().dropped == 2
            snapshotter.offer(row("big", 0, bytes(249)), writer_at("big", queued=0, committed=0))
            assert snapshotter.statistics().dropped == 4
            assert snapshotter.statistics().waiting_bytes == 250
            store.away = False
            await snapshotter.flush()
    assert sorted(store.rows) == [("k", "4"), ("k", "big")]


class Poisoned(MemorySnapshotStore):
    async def save(self, rows: Sequence[SnapshotRow]) -> None:
        if any(each[1] == "poison" for each in rows):
            raise ValueError("never")
        await super().save(rows)


async def test_a_row_that_the_store_never_takes_holds_up_nobody(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = Poisoned()
    with structlog.testing.capture_logs():
        async with running(store) as snapshotter:
            for key in ["poison", *map(str, range(30))]:
                snapshotter.offer(row(key, 0), writer_at(key, queued=0, committed=0))
            await trio.sleep(60)
    assert len(store.rows) == 30


async def test_a_discarded_snapshot_is_gone_from_the_store_and_from_what_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = MemorySnapshotStore()
    store.rows["k", "a"] = row("a", 1)
    store.away = True
    with structlog.testing.capture_logs():
        async with running(store) as snapshotter:
            snapshotter.offer(row("a", 2), writer_at("a", queued=2, committed=2))
            snapshotter.discard("k", "a")
            assert await snapshotter.load("k", "a") is None
            store.away = False
            await snapshotter.flush()
            assert store.rows == {}
            assert snapshotter.statistics().deleted == 1


async def test_loading_asks_the_store_when_nothing_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = MemorySnapshotStore()
    store.rows["k", "a"] = row("a", 1)
    async with running(store, save_timeout_s=2.0) as snapshotter:
        assert await snapshotter.load("k", "a") == row("a", 1)
        assert await snapshotter.load("k", "b") is None
        store.delay_s = 1e6
        with pytest.raises(trio.TooSlowError):
            await snapshotter.load("k", "a")


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.integers(0, 3),  # events queued
            st.integers(0, 4),  # of what is queued, committed
            st.booleans(),  # a snapshot is taken
            st.integers(0, 2),  # failures
            st.sampled_from([0.0, 0.01, 3.0]),
        ),
        max_size=15,
    )
)
def test_a_stored_snapshot_is_never_ahead_of_the_log_and_the_newest_wins(
    steps: list[tuple[str, int, int, bool, int, float]],
) -> None:
    writers = {key: Writer("k", key, epoch=1, seq=0) for key in "abc"}

    class Checking(MemorySnapshotStore):
        async def save(self, rows: Sequence[SnapshotRow]) -> None:
            for each in rows:
                assert each[2] <= writers[each[1]].committed
            await super().save(rows)

    async def scenario() -> None:
        store = Checking()
        newest: dict[str, int] = {}
        async with running(store, max_batch_rows=2) as snapshotter:
            for key, queued, committed, take, failures, wait_s in steps:
                writer = writers[key]
                writer.queued += queued
                if take:
                    snapshotter.offer(row(key, writer.queued), writer)
                    newest[key] = writer.queued
                store.fail_next += failures
                commit(writer, min(writer.queued, writer.committed + committed))
                await trio.sleep(wait_s)
            for writer in writers.values():
                commit(writer, writer.queued)
            await snapshotter.flush()
        assert {key: each[2] for (_, key), each in store.rows.items()} == newest

    with structlog.testing.capture_logs():
        trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0))
