"""Behind a pooler that hands each transaction to another session, among users with other ways."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest
from pykka import ActorRef

from bench.wallets import KINDS, Transfer, TransferAll, TransferRefused, open_wallets
from persistence import PostgresSettings
from persistence.commands import CommandTable, CommandWorker, Execute
from persistence.postgres import (
    EventReader,
    EventWriter,
    get_or_create_secret,
    known_migrations,
    migrate,
)
from persistence.postgres.connection import connect, session_is_ours, transaction
from persistence.requests import (
    Activate,
    AppendEvents,
    LastSeq,
    ReadEvents,
    ReadEventsBefore,
    StoreCheck,
)
from tests.persistence.asking import ask, event
from tests.persistence.pooler import PGBOUNCER, SESSIONS, pgbouncer, transaction_pooler

Ref = ActorRef[Any]

POOLERS = [
    pytest.param("ours", id="a pooler of the tests' own"),
    pytest.param(
        "pgbouncer",
        id="PgBouncer",
        marks=pytest.mark.skipif(
            PGBOUNCER is None, reason="PgBouncer is not installed here (apt-get install pgbouncer)"
        ),
    ),
]


@pytest.fixture(params=POOLERS)
def pooled(request: pytest.FixtureRequest, postgres_url: str) -> Iterator[str]:
    """The URL of a pooler in front of the database."""
    if request.param == "ours":
        with transaction_pooler(postgres_url) as url:
            yield url
        return
    with pgbouncer(postgres_url) as url:
        yield url


@contextmanager
def store(settings: PostgresSettings) -> Iterator[tuple[Ref, Ref]]:
    with ExitStack() as stack:
        refs = EventWriter.start(settings), EventReader.start(settings)
        for ref in refs:
            stack.callback(ref.stop)
        yield refs


def in_every_session(url: str, statements: str) -> list[Any]:
    """Run statements in each of the pool's sessions; returns each one's last answer."""
    answers: dict[int, Any] = {}
    with ExitStack() as stack:
        # Transactions that are open at the same time are in sessions of their own.
        others = [
            stack.enter_context(psycopg.connect(url, autocommit=True, prepare_threshold=None))
            for _ in range(SESSIONS)
        ]
        for other in others:
            other.execute("BEGIN")
            found = other.execute("SELECT pg_backend_pid()").fetchone()
            assert found is not None
            answers[found[0]] = None
        for other in others:
            other.execute("COMMIT")
        assert len(answers) == SESSIONS
        for other in others:
            other.execute("BEGIN")
        for number, other in enumerate(others):
            cursor = other.execute(statements.encode())
            while cursor.nextset():
                pass
            answers[number] = cursor.fetchall() if cursor.description else None
        for other in others:
            other.execute("COMMIT")
    return [answers[number] for number in range(SESSIONS)]


STATE = """
    SELECT current_setting('search_path'), current_setting('synchronous_commit'),
        current_setting('statement_timeout'), current_setting('enable_seqscan'),
        current_setting('plan_cache_mode'), current_setting('jit'),
        (SELECT count(*) FROM pg_prepared_statements),
        (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())
"""


def test_two_servers_of_one_pool_each_keep_to_their_schema(
    pooled: str, postgres: PostgresSettings, reader: Ref, unique: str
) -> None:
    ours = PostgresSettings(url=pooled, schema=f"{unique}_a")
    theirs = PostgresSettings(url=pooled, schema=f"{unique}_b")
    for settings in (ours, theirs):
        assert migrate(settings).applied == [migration.file for migration in known_migrations()]

    def play(settings: PostgresSettings) -> list[list[int]]:
        with store(settings) as (writer, reader):
            epoch = ask(writer, Activate(unique, settings.schema))
            for seq in range(1, 101):
                assert not ask(writer, AppendEvents([event(unique, settings.schema, seq, epoch)]))
            return [
                [row[2] for row in ask(reader, request)]
                for request in (
                    ReadEvents(unique, ours.schema, 0, 1000),
                    ReadEvents(unique, theirs.schema, 0, 1000),
                )
            ]

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(play, (ours, theirs)))
    everything = list(range(1, 101))
    assert both == [[everything, []], [[], everything]]


def test_what_others_left_in_a_session_does_not_matter(
    pooled: str, postgres: PostgresSettings, unique: str
) -> None:
    settings = PostgresSettings(url=pooled, schema=unique)
    in_every_session(
        pooled,
        """
        SET synchronous_commit TO off; SET search_path TO pg_temp, public;
        SET enable_indexscan TO off; SET enable_nestloop TO off;
        CREATE TEMP TABLE events (kind text, key text, seq int, epoch int, type text,
            payload bytea, at_us bigint);
        CREATE TEMP TABLE incarnations (kind text, key text, epoch int);
        CREATE TEMP TABLE secrets (name text, value bytea);
        CREATE TEMP TABLE applied_migrations (file text, checksum text);
        """,
    )
    migrate(settings)
    secret = get_or_create_secret(settings, "tokens")
    with store(settings) as (writer, reader):
        first, second = ask(writer, Activate("k", "a")), ask(writer, Activate("k", "a"))
        rows = [event("k", "a", seq, second) for seq in (1, 2, 3)]
        assert ask(writer, AppendEvents(rows[:2])) == []
        assert ask(writer, AppendEvents(rows)) == []  # two of them again
        assert ask(writer, AppendEvents([event("k", "a", 4, first)])) == [("k", "a")]
        assert ask(reader, ReadEvents("k", "a", 0, 10)) == rows
        assert ask(reader, ReadEventsBefore("k", "a", 3, 1)) == [rows[1]]
        assert ask(reader, LastSeq("k", "a")) == 3
    # Everything is where it is looked for without a pooler.
    direct = PostgresSettings(url=postgres.url, schema=unique)
    assert migrate(direct).applied == []
    assert get_or_create_secret(direct, "tokens") == secret
    with store(direct) as (writer, reader):
        assert ask(reader, ReadEvents("k", "a", 0, 10)) == rows
        assert ask(writer, Activate("k", "a")) == second + 1
    left = "SELECT (SELECT count(*) FROM pg_temp.events), (SELECT count(*) FROM pg_temp.secrets)"
    assert in_every_session(pooled, left) == [[(0, 0)]] * SESSIONS


def test_nothing_of_ours_is_left_in_a_session(pooled: str, unique: str) -> None:
    before = in_every_session(pooled, STATE)
    settings = PostgresSettings(url=pooled, schema=unique)
    migrate(settings)
    get_or_create_secret(settings, "tokens")
    with store(settings) as (writer, reader):
        for n in range(1, 4 * SESSIONS):
            epoch = ask(writer, Activate("k", "a"))
            assert ask(writer, AppendEvents([event("k", "a", n, epoch)])) == []
            assert ask(writer, AppendEvents([event("k", "a", n, epoch)])) == []
            assert len(ask(reader, ReadEvents("k", "a", 0, 100))) == n
            assert len(ask(reader, ReadEventsBefore("k", "a", 0, 100))) == n
            assert ask(reader, LastSeq("k", "a")) == n
            ask(writer, StoreCheck())
            ask(reader, StoreCheck())
    assert in_every_session(pooled, STATE) == before


def test_commands_rely_on_nothing_in_a_session_and_leave_nothing_there(
    pooled: str, unique: str
) -> None:
    before = in_every_session(
        pooled,
        "SET synchronous_commit TO off; SET search_path TO pg_temp, public;"
        " CREATE TEMP TABLE answered_commands (service text); " + STATE,
    )
    settings = PostgresSettings(url=pooled, schema=unique)
    migrate(settings)
    open_wallets(settings, ["ada", "bob"], 100)
    ref: Ref = CommandWorker.start(settings, CommandTable(KINDS, refusals=(TransferRefused,)))
    try:
        for n in range(4 * SESSIONS):
            for form in (Transfer, TransferAll):
                command = Execute(
                    form("ada", "bob", 1), "ada", f"{form.__name__}-{n}", time.monotonic() + 60
                )
                answers = [ask(ref, command).answer for _ in range(2)]
                assert answers[0] == answers[1]
            with pytest.raises(TransferRefused):
                ask(ref, Execute(Transfer("ada", "bob", 1000), "ada", None, time.monotonic() + 60))
    finally:
        ref.stop()
    with connect(settings) as connection, transaction(connection, settings):
        query = "SELECT owner, balance FROM wallets"
        moved = 2 * 4 * SESSIONS
        assert dict(connection.execute(query)) == {"ada": 100 - moved, "bob": 100 + moved}
    assert in_every_session(pooled, STATE) == before


def test_nodes_that_start_together_behind_a_pooler_migrate_once(pooled: str, unique: str) -> None:
    settings = PostgresSettings(url=pooled, schema=unique)
    with ThreadPoolExecutor(2) as pool:
        applied = [
            file
            for done in pool.map(lambda _: migrate(settings), range(2))
            for file in done.applied
        ]
    assert sorted(applied) == [migration.file for migration in known_migrations()]


def test_a_session_of_a_pooler_is_told_from_one_of_our_own(
    pooled: str, postgres: PostgresSettings
) -> None:
    with connect(postgres) as direct, connect(PostgresSettings(url=pooled)) as behind:
        assert session_is_ours(direct)
        assert not session_is_ours(behind)
