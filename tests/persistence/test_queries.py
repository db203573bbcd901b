from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from pykka import ActorRef

from persistence import PostgresSettings, QueryExpired, RowRefused, StoreUnavailable
from persistence.postgres.connection import connect
from persistence.queries import AskQuery, QueryKind, QueryTable, QueryWorker, ReadTransaction
from persistence.requests import LastSeq, StoreCheck
from tests.persistence.asking import (
    ask,
    end_other_sessions,
    hanging_up,
    outcome,
    wait_until_held_up,
)

Ref = ActorRef[Any]


class Length(msgspec.Struct, frozen=True):
    """A query for the length of a text, as PostgreSQL counts it."""

    text: str


class Schema(msgspec.Struct, frozen=True):
    """A query for the schema of names without one."""


class Wait(msgspec.Struct, frozen=True):
    """A query that waits for a lock."""

    number: int


class Both(msgspec.Struct, frozen=True):
    """A query for how many were asked together, and which of them this is."""

    number: int


class Mistake(msgspec.Struct, frozen=True):
    """A query whose function raises."""


def _length(reading: ReadTransaction, query: Length) -> Any:
    row = reading.read("SELECT length(%s::text)", (query.text,)).fetchone()
    return row and row[0]


def _schema(reading: ReadTransaction, _: Schema) -> Any:
    row = reading.read("SELECT current_schema()").fetchone()
    return row and row[0]


def _wait(reading: ReadTransaction, query: Wait) -> None:
    reading.read("SELECT pg_advisory_xact_lock(%s)", (query.number,))


def _both(reading: ReadTransaction, queries: Sequence[Both]) -> Any:
    if any(query.number < 0 for query in queries):
        raise ZeroDivisionError
    found = reading.read("SELECT cardinality(%s::int8[])", ([one.number for one in queries],))
    row = found.fetchone()
    return [(row and row[0], query.number) for query in queries]


def _mistake(_: ReadTransaction, query: Mistake) -> Any:
    raise ZeroDivisionError(repr(query))


TABLE = QueryTable(
    [
        QueryKind(Length, _length),
        QueryKind(Schema, _schema),
        QueryKind(Wait, _wait),
        QueryKind(Mistake, _mistake),
        QueryKind(Both, answer_all=_both),
    ]
)


@pytest.fixture
def worker(postgres: PostgresSettings) -> Iterator[Ref]:
    ref: Ref = QueryWorker.start(postgres, TABLE)
    yield ref
    ref.stop()


def of(query: msgspec.Struct, within_s: float = 60.0) -> AskQuery:
    return AskQuery(query, time.monotonic() + within_s)


def in_one_batch(worker: Ref, postgres: PostgresSettings, *requests: Any) -> list[Any]:
    """Return the outcomes of requests that gather behind one which waits for a lock."""
    number = time.monotonic_ns()
    with connect(postgres) as other:
        with other.transaction():
            other.execute("SELECT pg_advisory_xact_lock(%s)", (number,))
            worker.ask(of(Wait(number)), block=False)
            wait_until_held_up(other)
            futures: list[Any] = [worker.ask(one, block=False) for one in requests]
        return [outcome(future) for future in futures]


def test_a_query_is_answered_from_the_schema_of_the_server(
    worker: Ref, postgres: PostgresSettings
) -> None:
    assert ask(worker, of(Length("abc"))) == 3
    assert ask(worker, of(Schema())) == postgres.schema
    assert ask(worker, StoreCheck()) is None


def test_in_a_batch_each_stands_for_itself(worker: Ref, postgres: PostgresSettings) -> None:
    answers = in_one_batch(
        worker,
        postgres,
        of(Length("a")),
        of(Length("\0")),
        of(Mistake()),
        of(Length("abc"), within_s=-1),
        LastSeq("room", "a"),
        of(msgspec.defstruct("Unheard", [])()),
        of(Length("ab")),
    )
    assert (answers[0], answers[-1]) == (1, 2)
    kinds = [type(one) for one in answers[1:-1]]
    assert kinds == [RowRefused, ZeroDivisionError, QueryExpired, RowRefused, LookupError]


def test_those_of_a_type_that_wait_are_answered_together(
    worker: Ref, postgres: PostgresSettings
) -> None:
    answers = in_one_batch(worker, postgres, of(Both(7)), of(Length("ab")), of(Both(9)))
    assert answers == [(2, 7), 2, (2, 9)]
    failed = in_one_batch(worker, postgres, of(Both(7)), of(Length("ab")), of(Both(-1)))
    assert [type(one) for one in failed] == [ZeroDivisionError, int, ZeroDivisionError]


def test_a_connection_that_was_lost_is_felt_by_nobody(
    worker: Ref, postgres: PostgresSettings
) -> None:
    assert ask(worker, of(Length("a"))) == 1
    with connect(postgres) as other:
        end_other_sessions(other)
    assert ask(worker, of(Length("a"))) == 1


def test_a_store_that_is_away_is_said_to_be() -> None:
    with hanging_up() as hanger:
        settings = PostgresSettings(url=f"postgresql://x@127.0.0.1:{hanger.port}/x")
        ref: Ref = QueryWorker.start(settings, TABLE)
        try:
            with pytest.raises(StoreUnavailable):
                ask(ref, of(Length("a")))
        finally:
            ref.stop()


def test_a_query_has_one_kind() -> None:
    with pytest.raises(ValueError, match="Length"):
        QueryTable([QueryKind(Length, _length), QueryKind(Length, _length)])
    with pytest.raises(LookupError):
        QueryTable([]).of(Length(""))
    with pytest.raises(ValueError, match="either answer or answer_all"):
        QueryKind(Length)
