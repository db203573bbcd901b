"""Queries: what commands have written, read by threads of their own.

A query is a frozen Struct, and a function of (reading, query) that returns an answer. `QueryKind`
says which belongs to which; `QueryWorker`s, threads with a connection each, answer what has queued
up in one transaction. A worker is asked with an `Ask`. So no read waits behind a command, no
command behind a read, and how many reads a node has under way is bounded.

Workers ask the primary, so that a user who has written reads what was written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, LiteralString

import msgspec
import psycopg

from persistence.batching import each_alone, in_groups
from persistence.commands.transaction import Rows
from persistence.errors import QueryExpired, RowRefused
from persistence.postgres.actor import PostgresActor
from persistence.postgres.connection import transaction
from persistence.requests import StoreCheck, StoreRequest
from persistence.settings import PostgresSettings


class ReadTransaction:
    """A transaction in which queries run one after the other. Plain names are of our schema."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def read(self, query: LiteralString, parameters: Sequence[Any] = ()) -> Rows:
        """Run a query that changes nothing."""
        return Rows(self._connection.execute(query, parameters), None)


class QueryKind(msgspec.Struct, frozen=True):
    """A type of query and what answers it. Exactly one of:

    `answer(reading, query)` returns the answer.
    `answer_all(reading, queries)` answers each of many at once, in order. For hot paths: all that
    wait go as arrays into one statement, which is planned and waited for once.

    Either may be called again for the same query. What it raises is raised at the asker, or at all.
    """

    query: type[msgspec.Struct]
    answer: Callable[[ReadTransaction, Any], Any] | None = None
    answer_all: Callable[[ReadTransaction, Sequence[Any]], Sequence[Any]] | None = None

    def __post_init__(self) -> None:
        """Raises ValueError: it has both functions, or none."""
        if (self.answer is None) == (self.answer_all is None):
            raise ValueError(f"query {self.query.__name__}: give either answer or answer_all")

    def answers(self, reading: ReadTransaction, queries: Sequence[Any]) -> Sequence[Any]:
        """To each an answer, or an exception for its asker. Raises psycopg.Error."""
        if self.answer is not None:
            return [_outcome(self.answer, reading, query) for query in queries]
        assert self.answer_all is not None
        found = _outcome(self.answer_all, reading, queries)
        return [found] * len(queries) if isinstance(found, Exception) else found


def _outcome(function: Callable[[ReadTransaction, Any], Any], reading: Any, asked: Any) -> Any:
    try:
        return function(reading, asked)
    except psycopg.Error:
        raise  # the whole transaction is over
    except Exception as error:
        return error


class QueryTable:
    """All kinds of a server, found by the type of the query.

    Raises ValueError: two kinds of one type.
    """

    def __init__(self, kinds: Iterable[QueryKind]) -> None:
        self._by_type: dict[type, QueryKind] = {}
        for kind in kinds:
            if kind.query in self._by_type:
                raise ValueError(f"query {kind.query.__name__} is there twice")
            self._by_type[kind.query] = kind

    def of(self, query: msgspec.Struct) -> QueryKind:
        """The kind of a query. Raises LookupError: nothing answers it."""
        kind = self._by_type.get(type(query))
        if kind is None:
            raise LookupError(f"nothing answers a {type(query).__name__}")
        return kind


class Ask(StoreRequest, frozen=True, gc=False):
    """Answer a query. Reply: what its function returns.

    `expires_at`, in seconds of time.monotonic: then nobody waits for it any more.
    """

    query: Any
    expires_at: float


class QueryWorker(PostgresActor):
    """Answers what has queued up, on a connection of its own.

    `batch`: queries of one transaction, at most; the answers of all are in memory at once.
    """

    def __init__(self, settings: PostgresSettings, table: QueryTable, *, batch: int = 32) -> None:
        super().__init__(settings)
        self.batch_weight = batch
        self._settings = settings
        self._table = table

    def answer(self, requests: Sequence[StoreRequest]) -> Sequence[Any]:
        return each_alone(
            lambda some: self._link.run(lambda connection: self._read(connection, some)), requests
        )

    def _read(self, connection: psycopg.Connection, requests: Sequence[StoreRequest]) -> list[Any]:
        with transaction(connection, self._settings):
            answer = partial(self._answers, ReadTransaction(connection))
            return in_groups(requests, _type_of_query, answer)

    def _answers(
        self, reading: ReadTransaction, query: type | None, requests: Sequence[Any]
    ) -> Sequence[Any]:
        """To queries of one type, or to what is no query."""
        if query is None:
            return [_not_asked(request) for request in requests]
        queries = [request.query for request in requests]
        try:
            kind = self._table.of(queries[0])
        except LookupError as error:
            return [error] * len(queries)
        return kind.answers(reading, queries)


def _type_of_query(request: StoreRequest) -> type | None:
    """None: it is no query, or is none any more."""
    if isinstance(request, Ask) and request.expires_at > time.monotonic():
        return type(request.query)
    return None


def _not_asked(request: StoreRequest) -> Any:
    """The answer to what is no query, or is none any more."""
    if isinstance(request, StoreCheck):
        return None
    if isinstance(request, Ask):
        return QueryExpired(type(request.query).__name__)
    return RowRefused(f"not for a worker of queries: {request}")
