"""The facades as the server uses them: trio code asking supervised threads of a system."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec
import pytest
import trio

from actors import ActorSystem, ChildSpec
from persistence import (
    EventStore,
    PostgresSettings,
    RedisSettings,
    RowRefused,
    SnapshotStore,
    StoreUnavailable,
)
from persistence.postgres import EventReader, EventWriter
from persistence.redis import SnapshotWorker
from persistence.rows import EventRow
from tests.conftest import Stores
from tests.persistence.asking import event
from tests.server_process import descendants

T = TypeVar("T")


class Node(NamedTuple):
    system: ActorSystem
    events: EventStore
    snapshots: SnapshotStore


@asynccontextmanager
async def node(postgres: PostgresSettings, redis: RedisSettings) -> AsyncIterator[Node]:
    async with ActorSystem(name="test") as system:
        supervisor = system.supervise(
            [
                ChildSpec(id="writer", factory=partial(EventWriter, postgres)),
                ChildSpec(id="reader", factory=partial(EventReader, postgres)),
                ChildSpec(id="snapshots", factory=partial(SnapshotWorker, redis)),
            ],
            key="stores",
        )
        await supervisor.started()
        yield Node(
            system,
            EventStore(system.ref("stores", "writer"), system.ref("stores", "reader")),
            SnapshotStore(system.ref("stores", "snapshots")),
        )


async def until_it_works(call: Callable[[], Awaitable[T]]) -> T:
    """Try again and again, with a pause, as the journal does."""
    with trio.fail_after(120):
        while True:
            try:
                return await call()
            except StoreUnavailable:
                await trio.sleep(0.05)


async def test_events_and_snapshots_go_there_and_back(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with node(postgres, redis) as (_, events, snapshots):
        await events.ping()
        await snapshots.ping()
        epoch = await events.activate(unique, "a")
        rows = [event(unique, "a", seq, epoch) for seq in range(1, 6)]
        assert list(await events.append(rows)) == []
        assert await events.read(unique, "a", after=2, limit=2) == rows[2:4]
        assert await events.read_before(unique, "a", before=0, limit=2) == rows[3:]
        assert await events.read_before(unique, "a", before=4, limit=2) == rows[1:3]
        assert await events.last_seq(unique, "a") == 5
        assert await events.epoch(unique, "a") == epoch
        assert await events.epoch(unique, "nobody") == 0
        snapshot = (unique, "a", 5, epoch, 1, b"state")
        await snapshots.save([snapshot])
        assert await snapshots.load(unique, "a") == snapshot
        await snapshots.delete(unique, "a")
        assert await snapshots.load(unique, "a") is None
        with pytest.raises(RowRefused):
            await events.activate(unique, "nul\0")


async def test_many_tasks_share_the_stores(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with node(postgres, redis) as (_, events, snapshots):

        async def actor(key: str) -> None:
            epoch = await events.activate(unique, key)
            for seq in range(1, 6):
                assert not await events.append([event(unique, key, seq, epoch)])
            await snapshots.save([(unique, key, 5, epoch, 1, key.encode())])
            held = await snapshots.load(unique, key)
            assert held is not None
            assert held[5] == key.encode()
            assert await events.last_seq(unique, key) == 5

        async with trio.open_nursery() as nursery:
            for n in range(60):
                nursery.start_soon(actor, str(n))


async def test_stores_that_were_killed_come_back_with_all_that_was_acknowledged(
    stores: Stores, postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with node(postgres, redis) as (system, events, snapshots):
        epoch = await events.activate(unique, "a")
        rows: list[EventRow] = [event(unique, "a", seq, epoch) for seq in (1, 2, 3)]
        await events.append(rows[:2])
        snapshot = (unique, "a", 2, epoch, 1, b"state")
        await snapshots.save([snapshot])
        # PostgreSQL's backends, too: one with work to do outlives the postmaster, and answers.
        for server in stores.servers.pids.values():
            for pid in (server, *descendants(server)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        while stores.servers.pids:
            await trio.sleep(0.01)
        calls: list[Callable[[], Awaitable[Any]]] = [
            partial(events.append, rows[2:]),
            partial(events.last_seq, unique, "a"),
            partial(snapshots.load, unique, "a"),
            events.ping,
            snapshots.ping,
        ]
        try:
            for call in calls:
                with pytest.raises(StoreUnavailable) as caught:
                    await call()
                assert "\n" not in str(caught.value)
        finally:
            stores.servers.revive()  # other tests share them
        assert await until_it_works(lambda: events.append(rows[2:])) == []
        assert await until_it_works(lambda: events.read(unique, "a", after=0, limit=9)) == rows
        assert await until_it_works(lambda: snapshots.load(unique, "a")) == snapshot
        # None of the threads died of it.
        assert all(ref.is_alive() for ref in system.actors("stores"))


async def test_a_thread_that_dies_is_started_again_with_a_connection_of_its_own(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with node(postgres, redis) as (system, events, _):
        await events.append([event(unique, "a", 1)])
        before = writer_thread()
        # A message that no store request is, told and not asked: Pykka lets the actor die of it.
        system.ref("stores", "writer").tell(Poison())
        assert list(await events.append([event(unique, "a", 2)])) == []
        assert await events.last_seq(unique, "a") == 2
        assert writer_thread() != before


def writer_thread() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "EventWriter" in thread.name]


class Poison:
    """A message whose text raises when a Pykka actor logs that it was unexpected."""

    def __str__(self) -> str:
        raise ZeroDivisionError


class Scripted:
    """Answers from a list, as a replica that lags as a test wants."""

    def __init__(self, *answers: list[EventRow] | Exception) -> None:
        self.answers = list(answers)

    async def ask(self, message: Any, *, timeout: float | None = None) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


ROWS = [event("k", "a", seq) for seq in range(1, 10)]


async def test_history_comes_from_the_replica() -> None:
    events = EventStore(Scripted(), Scripted(), Scripted(ROWS[2:5]))
    assert await events.read_before("k", "a", before=6, limit=3) == ROWS[2:5]


@pytest.mark.parametrize(
    "replica",
    [[], ROWS[1:4], StoreUnavailable("postgresql", "away")],
    ids=["empty", "lags", "away"],
)
async def test_a_replica_that_lags_or_is_away_leaves_no_gap(
    replica: list[EventRow] | Exception,
) -> None:
    events = EventStore(Scripted(), Scripted(ROWS[2:5]), Scripted(replica))
    assert await events.read_before("k", "a", before=6, limit=3) == ROWS[2:5]


async def test_the_newest_events_never_come_from_a_replica() -> None:
    events = EventStore(Scripted(), Scripted(ROWS, ROWS, [ROWS[8]]), Scripted())
    assert await events.read_before("k", "a", before=0, limit=9) == ROWS
    assert await events.read("k", "a", after=0, limit=9) == ROWS


async def test_a_replica_s_url_reads_what_the_primary_wrote(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    """Both URLs are of one server here. The test is that the second connection uses its own URL."""
    primary = msgspec.structs.replace(postgres, replica_url=postgres.url)
    async with node(primary, redis) as (system, events, _):
        system.start(EventReader, primary, kind="history", key="1", url=primary.replica_url)
        store = EventStore(
            system.ref("stores", "writer"),
            system.ref("stores", "reader"),
            system.ref("history", "1"),
        )
        rows = [event(unique, "a", seq) for seq in (1, 2, 3)]
        await events.append(rows)
        assert await store.read_before(unique, "a", before=3, limit=5) == rows[:2]
