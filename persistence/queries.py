"""Queries: they read what commands have written, in threads of their own.

A query is a frozen Struct and a function of (reading, query) that returns an answer; a `QueryKind`
joins the two. `QueryWorker`s are threads with a connection each. A worker is asked with an
`AskQuery`, and answers all queries that have queued up in one transaction. So reads and commands do
not wait for one another, and the number of reads at the same time is bounded.

Workers ask the primary, so that users read what they have just written. One may ask a replica, for
queries whose answers may be late.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, LiteralString

import msgspec
import psycopg

from persistence.batching import each_alone, in_groups
from persistence.commands.transaction import Parameters, Rows
from persistence.errors import QueryExpired, RowRefused
from persistence.postgres.actor import PostgresActor
from persistence.postgres.connection import transaction
from persistence.requests import StoreCheck, StoreRequest
from persistence.settings import PostgresSettings


class ReadTransaction:
    """A transaction in which queries run one after the other.

    Names of tables without a schema are those of the server's schema.
    """

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def read(self, query: LiteralString, parameters: Parameters = ()) -> Rows:
        """Run a query that changes nothing."""
        return Rows(self._connection.execute(query, parameters), None)


class QueryKind(msgspec.Struct, frozen=True):
    """A type of query, and one of two functions that answer it.

    The function may be called again for the same query. An exception in it goes to the asker, or to
    all askers.

    Attributes:
        query: the type.
        answer: `answer(reading, query)` returns the answer.
        answer_all: `answer_all(reading, queries)` returns the answers to many queries, in order. It
            is for hot paths: the queries go as arrays into one statement, which is planned and
            waited for once.

    Raises ValueError if it has both functions, or neither.
    """

    query: type[msgspec.Struct]
    answer: Callable[[ReadTransaction, Any], Any] | None = None
    answer_all: Callable[[ReadTransaction, Sequence[Any]], Sequence[Any]] | None = None

    def __post_init__(self) -> None:
        """Check that there is one function."""
        if (self.answer is None) == (self.answer_all is None):
            raise ValueError(f"query {self.query.__name__}: give either answer or answer_all")

    def answers(self, reading: ReadTransaction, queries: Sequence[Any]) -> Sequence[Any]:
        """Return for each query an answer, or an exception for its asker. Raises psycopg.Error."""
        if self.answer is not None:
            return [_outcome(self.answer, reading, query) for query in queries]
        assert self.answer_all is not None
        found = _outcome(self.answer_all, reading, queries)
        return [found] * len(queries) if isinstance(found, Exception) else found


def _outcome(function: Callable[[ReadTransaction, Any], Any], reading: Any, asked: Any) -> Any:
    try:
        return function(reading, asked)
    except psycopg.Error:
        raise  # it ends the whole transaction
    except Exception as error:
        return error


class QueryTable:
    """All kinds of queries of a server, by the type of the query.

    Raises ValueError if two kinds have the same type.
    """

    def __init__(self, kinds: Iterable[QueryKind]) -> None:
        self._by_type: dict[type, QueryKind] = {}
        for kind in kinds:
            if kind.query in self._by_type:
                raise ValueError(f"query {kind.query.__name__} is there twice")
            self._by_type[kind.query] = kind

    def of(self, query: msgspec.Struct) -> QueryKind:
        """Return the kind of a query. Raises LookupError if nothing answers it."""
        kind = self._by_type.get(type(query))
        if kind is None:
            raise LookupError(f"nothing answers a {type(query).__name__}")
        return kind


class AskQuery(StoreRequest, frozen=True, gc=False):
    """Asks for the answer to a query. Reply: what its function returns.

    `expires_at` is the deadline, in seconds of time.monotonic. After it nobody waits for the
    answer.
    """

    query: Any
    expires_at: float


class QueryWorker(PostgresActor):
    """Answers the queries that have queued up, on a connection of its own.

    Arguments:
        settings: where the database is.
        table: the kinds of queries.
        batch: how many queries one transaction may have. Their answers are in memory at the same
            time.
        url: the address of a read replica, to use in place of `settings.url`.
    """

    def __init__(
        self,
        settings: PostgresSettings,
        table: QueryTable,
        *,
        batch: int = 32,
        url: str | None = None,
    ) -> None:
        super().__init__(settings, url=url)
        self._read_only = url is not None
        self.batch_weight = batch
        self._settings = settings
        self._table = table

    def answer(self, requests: Sequence[StoreRequest]) -> Sequence[Any]:
        return each_alone(
            lambda some: self._link.run(lambda connection: self._read(connection, some)), requests
        )

    def _read(self, connection: psycopg.Connection, requests: Sequence[StoreRequest]) -> list[Any]:
        with transaction(connection, self._settings, read_only=self._read_only):
            answer = partial(self._answers, ReadTransaction(connection))
            return in_groups(requests, _type_of_query, answer)

    def _answers(
        self, reading: ReadTransaction, query: type | None, requests: Sequence[Any]
    ) -> Sequence[Any]:
        """Answer queries of one type; if it is None, requests that are no query or too late."""
        if query is None:
            return [_not_asked(request) for request in requests]
        queries = [request.query for request in requests]
        try:
            kind = self._table.of(queries[0])
        except LookupError as error:
            return [error] * len(queries)
        return kind.answers(reading, queries)


def _type_of_query(request: StoreRequest) -> type | None:
    """Return the type of a request's query, or None if it is no query or is too late."""
    if isinstance(request, AskQuery) and request.expires_at > time.monotonic():
        return type(request.query)
    return None


def _not_asked(request: StoreRequest) -> Any:
    """Return the answer to a request that is no query, or whose deadline has passed."""
    if isinstance(request, StoreCheck):
        return None
    if isinstance(request, AskQuery):
        return QueryExpired(type(request.query).__name__)
    return RowRefused(f"not for a worker of queries: {request}")
