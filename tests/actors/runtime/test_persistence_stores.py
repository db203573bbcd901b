"""Persistent actors on PostgreSQL and Valkey themselves."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import psycopg
import pytest
import structlog
import trio

import actors
from persistence import EventStore, PostgresSettings, RedisSettings, SnapshotStore
from persistence.embedded import EmbeddedServers
from persistence.postgres import EventReader, EventWriter, migrate
from persistence.redis import SnapshotWorker
from tests.persistence.killing import kill_postgresql

from .persistent import Add, Added, Crash, Get, Ledger, Rest, Scribble, Value


@asynccontextmanager
async def node(
    postgres: PostgresSettings, redis: RedisSettings, kind: str
) -> AsyncIterator[actors.ActorSystem]:
    """Open a node. The stores' threads are actors of the system that they serve."""
    async with actors.ActorSystem(seed=1) as system:
        writer = system.start(EventWriter, postgres)
        reader = system.start(EventReader, postgres)
        worker = system.start(SnapshotWorker, redis)
        system.use_stores(EventStore(writer, reader), SnapshotStore(worker))
        system.register(actors.Kind(name=kind, factory=Ledger))
        yield system


def read_log(postgres: PostgresSettings, kind: str) -> list[tuple[str, int, int]]:
    """Return the committed events, read by a separate client of the database."""
    with psycopg.connect(postgres.url) as connection:
        rows = connection.execute(
            f"SELECT key, seq, epoch FROM {postgres.schema}.events"
            " WHERE kind = %s ORDER BY key, seq",
            (kind,),
        ).fetchall()
    return [(key, seq, epoch) for key, seq, epoch in rows]


async def test_state_comes_back_and_what_was_answered_is_in_the_database(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with node(postgres, redis, unique) as system:
        ref = system.ref(unique, "a")
        for amount in (1, 2, 3):
            await ref.ask(Add(amount))
            log = await trio.to_thread.run_sync(read_log, postgres, unique)
            assert log[-1] == ("a", amount, 1)
        ref.tell(Scribble("bye"))
    async with node(postgres, redis, unique) as system:
        answer = await system.ref(unique, "a").ask(Get())
        assert answer == Value(6, 3, 2, "bye", [1, 2, 3])
        assert system.durability is not None
        assert system.durability.replayed == 0  # the snapshot had it all


async def test_what_is_left_when_a_system_stops_reaches_the_stores_that_are_its_own_actors(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with node(postgres, redis, unique) as system:
        refs = [system.ref(unique, str(n)) for n in range(20)]
        futures = [ref.ask(Add(n)) for n in range(10) for ref in refs]
    assert all(future.exception() is None for future in futures)
    assert len(await trio.to_thread.run_sync(read_log, postgres, unique)) == 200


async def test_two_nodes_that_both_own_an_actor_keep_one_log(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    answered: list[int] = []
    with structlog.testing.capture_logs():
        async with node(postgres, redis, unique) as one, node(postgres, redis, unique) as two:
            refs = [system.ref(unique, "a") for system in (one, two)]
            for n in range(1, 41):
                # Either node may win. A refused event was not written, so it is sent again.
                for _ in range(5):
                    try:
                        await refs[n // 5 % 2].ask(Add(n))
                    except actors.Fenced:
                        continue
                    answered.append(n)
                    break
    assert answered == list(range(1, 41))
    async with node(postgres, redis, unique) as system:
        answer = await system.ref(unique, "a").ask(Get())
    assert answer.history == answered
    log = await trio.to_thread.run_sync(read_log, postgres, unique)
    assert [seq for _, seq, _ in log] == list(range(1, 41))
    epochs = [epoch for _, _, epoch in log]
    assert epochs == sorted(epochs)


async def test_a_crash_right_after_a_burst_loses_nothing(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    with structlog.testing.capture_logs():
        async with node(postgres, redis, unique) as system:
            ref = system.ref(unique, "a")
            await ref.ask(Get())
            futures = [ref.ask(Add(n)) for n in range(100)]
            ref.tell(Crash())
            futures += [ref.ask(Add(n)) for n in range(100, 200)]
            for future in futures:
                await future
            answer = await ref.ask(Get())
    assert answer.history == list(range(200))
    assert answer.epoch == 2


async def test_passivation_and_back_many_times_keeps_everything(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with node(postgres, redis, unique) as system:
        ref = system.ref(unique, "a")
        for n in range(10):
            await ref.ask(Add(n))
            ref.tell(Rest())
        answer = await ref.ask(Get())
    assert answer.history == list(range(10))
    assert answer.epoch > 5


async def test_a_log_of_several_pages_is_replayed(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    payload = msgspec.msgpack.encode(Added(1))
    async with node(postgres, redis, unique) as system:
        store = system.journal.store
        assert await store.activate(unique, "a") == 1
        rows = [(unique, "a", seq, 1, "Added", payload, 0) for seq in range(1, 2502)]
        assert not await store.append(rows)
        answer = await system.ref(unique, "a").ask(Get())
        assert (answer.seq, answer.total) == (2501, 2501)


async def test_a_name_that_postgresql_cannot_hold_fails_its_own_actor_only(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    with structlog.testing.capture_logs():
        async with node(postgres, redis, unique) as system:
            with pytest.raises(actors.ActorDeadError):
                await system.ref(unique, "nul\0").ask(Add(1))
            assert await system.ref(unique, "a").ask(Add(1)) == 1


async def test_postgresql_killed_under_load_and_back_loses_nothing_that_was_asked() -> None:
    # Servers of its own: this one kills them.
    folder = Path(tempfile.gettempdir()) / f"greenroom-tests-{secrets.token_hex(8)}"
    try:
        with EmbeddedServers(folder) as servers, structlog.testing.capture_logs() as entries:
            postgres = PostgresSettings(url=servers.postgres_url)
            migrate(postgres)
            async with node(postgres, RedisSettings(url=servers.redis_url), "ledger") as system:
                ref = system.ref("ledger", "a")
                await ref.ask(Add(0))
                futures = [ref.ask(Add(n), timeout=60) for n in range(1, 500)]
                kill_postgresql(servers)
                futures += [ref.ask(Add(n), timeout=60) for n in range(500, 900)]
                while "PostgreSQL" in servers.pids:
                    await trio.sleep(0.01)
                assert servers.revive() == ["PostgreSQL"]
                for future in futures:
                    await future
                assert len(await trio.to_thread.run_sync(read_log, postgres, "ledger")) == 900
                answer = await ref.ask(Get())
                assert (answer.history, answer.epoch) == (list(range(900)), 1)
        assert "event_store_is_back" in [entry["event"] for entry in entries]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
