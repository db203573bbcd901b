"""A real read replica: its lag is known and bounded, and what is behind it is read elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import msgspec
import psycopg
import pytest
import structlog
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors import ActorSystem
from actors.facts import Facts
from persistence import EventStore, PostgresSettings
from persistence.commands import CommandKind, CommandTable, CommandWorker, Transaction
from persistence.postgres import EventReader, EventWriter
from persistence.postgres.replica import ReplicaLag, ReplicaWatch
from persistence.queries import QueryKind, QueryTable, QueryWorker, ReadTransaction
from tests.persistence.asking import event

from .replicas import Replica, replica_of

BOUND_S = 3.0


@pytest.fixture(scope="module")
def streaming(stores: tuple[str, str, object]) -> Iterator[Replica]:
    with replica_of(stores[1]) as found:
        yield found


@pytest.fixture
def replica(streaming: Replica) -> Iterator[Replica]:
    yield streaming
    streaming.go_on()


@pytest.fixture
def settings(postgres: PostgresSettings, replica: Replica) -> PostgresSettings:
    return msgspec.structs.replace(postgres, replica_url=replica.url, replica_lag_s=BOUND_S)


async def until(true: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not true():
            await trio.sleep(0.02)


class Write(msgspec.Struct, frozen=True):
    """A command that writes a word."""

    word: str


class Words(msgspec.Struct, frozen=True):
    """A query for all words like this one."""

    like: str


def write(transaction: Transaction, command: Write) -> None:
    transaction.write("INSERT INTO late_words VALUES (%s)", (command.word,))


def words(reading: ReadTransaction, query: Words) -> int:
    rows = reading.read("SELECT word FROM late_words WHERE word = %s", (query.like,))
    return len(rows.fetchall())


async def test_history_comes_from_the_replica_while_it_is_no_further_behind_than_it_may_be(
    settings: PostgresSettings, replica: Replica, unique: str
) -> None:
    lag = ReplicaLag()
    async with ActorSystem() as system:
        events = EventStore(
            system.start(EventWriter, settings),
            system.start(EventReader, settings),
            system.start(EventReader, settings, url=settings.replica_url),
            fresh=lambda: lag.seconds() <= BOUND_S,
        )
        rows = [event(unique, "a", seq) for seq in range(1, 6)]
        await events.append(rows)
        # Before anything is known of the replica it is not asked.
        assert await events.read_before(unique, "a", before=4, limit=9) == rows[:3]
        assert (events.from_replica, events.not_from_replica) == (0, 1)
        watch = system.start(ReplicaWatch, settings, lag)
        await until(lambda: lag.seconds() < BOUND_S)
        replica.run("SELECT 1")
        assert await events.read_before(unique, "a", before=4, limit=9) == rows[:3]
        assert events.from_replica == 1
        # Paused, it has the events, but may have what was erased since.
        replica.pause()
        await events.append([event(unique, "a", 6)])
        await until(lambda: lag.seconds() > BOUND_S)
        assert await events.read_before(unique, "a", before=4, limit=9) == rows[:3]
        assert (events.from_replica, events.not_from_replica) == (1, 2)
        replica.go_on()
        await until(lambda: lag.seconds() < BOUND_S)
        assert await events.read_before(unique, "a", before=7, limit=1) == [event(unique, "a", 6)]
        assert events.from_replica == 2
        await watch.stop()


async def test_who_has_just_written_reads_it_and_others_may_read_it_later(
    settings: PostgresSettings, replica: Replica, unique: str
) -> None:
    with psycopg.connect(settings.url, autocommit=True) as connection:
        connection.execute(b"CREATE TABLE IF NOT EXISTS greenroom.late_words (word text)")
    commands = CommandTable([CommandKind(service=unique, name="write", command=Write, run=write)])
    queries = QueryTable([QueryKind(Words, words)])
    lag = ReplicaLag()
    async with ActorSystem() as system:
        facts = Facts(
            [system.start(CommandWorker, settings, commands)],
            [system.start(QueryWorker, settings, queries)],
            replica=system.start(QueryWorker, settings, queries, url=settings.replica_url),
            lag_s=lag.seconds,
            replica_lag_s=BOUND_S,
            timeout_s=30.0,
        )
        watch = system.start(ReplicaWatch, settings, lag)
        await until(lambda: lag.seconds() < BOUND_S)
        assert await facts.ask_late(Words(unique), "ada") == 0
        assert facts.from_replica == 1
        replica.pause()
        await facts.execute(Write(unique), user="ada")
        assert await facts.ask_late(Words(unique), "ada") == 1
        assert facts.not_from_replica == 1
        if lag.seconds() < BOUND_S / 2:  # not on a machine that stood still
            assert await facts.ask_late(Words(unique), "bob") == 0
        await until(lambda: lag.seconds() > BOUND_S)
        assert await facts.ask_late(Words(unique), "bob") == 1  # of the primary
        await watch.stop()


async def test_without_the_replica_the_primary_answers(
    postgres: PostgresSettings, unique: str
) -> None:
    with replica_of(postgres.url) as gone:
        settings = msgspec.structs.replace(
            postgres, replica_url=gone.url, replica_lag_s=BOUND_S, first_retry_s=0.01
        )
        lag = ReplicaLag()
        queries = QueryTable([QueryKind(Words, lambda _, query: len(query.like))])
        async with ActorSystem() as system:
            events = EventStore(
                system.start(EventWriter, settings),
                system.start(EventReader, settings),
                system.start(EventReader, settings, url=settings.replica_url),
            )
            facts = Facts(
                [],
                [system.start(QueryWorker, settings, queries)],
                replica=system.start(QueryWorker, settings, queries, url=settings.replica_url),
                timeout_s=30.0,
            )
            watch = system.start(ReplicaWatch, settings, lag)
            rows = [event(unique, "a", seq) for seq in (1, 2)]
            await events.append(rows)
            await until(lambda: lag.seconds() < BOUND_S)
            assert await facts.ask_late(Words("abc"), "ada") == 3
            gone.end()
            # It was just seen, and is asked.
            assert await events.read_before(unique, "a", before=2, limit=1) == rows[:1]
            assert await facts.ask_late(Words("abc"), "ada") == 3
            assert (events.not_from_replica, facts.not_from_replica) == (1, 1)
            await until(lambda: lag.seconds() > BOUND_S)
            await watch.stop()


async def test_what_is_no_replica_is_never_fresh(postgres: PostgresSettings) -> None:
    settings = msgspec.structs.replace(postgres, replica_url=postgres.url, replica_lag_s=0.1)
    lag = ReplicaLag(clock=lambda: 0.0)
    async with ActorSystem() as system:
        with structlog.testing.capture_logs() as logs:
            watch = system.start(ReplicaWatch, settings, lag)
            await until(lambda: len(logs) > 0)
        assert [entry["reason"] for entry in logs] == ["it is no replica"]
        assert math.isinf(lag.seconds())
        await watch.stop()


@given(st.lists(st.tuples(st.sampled_from("wlr"), st.integers(1, 5))))
def test_the_lag_is_never_less_than_it_is(steps: list[tuple[str, int]]) -> None:
    """Among writes and looks, a replica replays some.

    What it lacks was written later than it says.
    """
    now = 0.0
    lag = ReplicaLag(clock=lambda: now)
    written: list[float] = []  # the times of writes; a place in the log is their number
    replayed = 0
    for step, amount in steps:
        now += 1.0
        if step == "w":
            written += [now] * amount
        elif step == "r":
            replayed = min(len(written), replayed + amount)
        else:
            lag.sampled(len(written), now)
            lag.replayed(replayed)
        missing = written[replayed:]
        if missing:
            assert lag.seconds() >= now - missing[0]
