"""The thread that asks the register of nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import psycopg

from persistence.batching import each_alone
from persistence.errors import RowRefused
from persistence.nodes import (
    AdmitNode,
    BuryNode,
    DescribeNode,
    HeldActor,
    LeaveNode,
    NextGeneration,
    ReadCluster,
    ReadRegister,
    Register,
    RegisterReport,
    RegisterRow,
    ReportNode,
)
from persistence.postgres.actor import PostgresActor
from persistence.postgres.connection import qualified
from persistence.requests import StoreCheck, StoreRequest
from persistence.settings import PostgresSettings

_ADMIT: Final = "SELECT {schema}.admit_node(%s, %s, %b, %s)"
_REPORT: Final = "SELECT * FROM {schema}.report_node(%s, %s, %s::float8, %s, %s::float8, %s)"
_CLUSTER: Final = "SELECT id::text FROM {schema}.cluster"
_READ: Final = "SELECT * FROM {schema}.read_register()"
_HELD: Final = """
SELECT kind, key, extract(epoch FROM held_until - clock_timestamp())::float8
FROM {schema}.held_actors WHERE held_until > clock_timestamp()
"""
_BURY: Final = "SELECT {schema}.bury_node(%s, %s, %s, %s::float8)"
_LEAVE: Final = "SELECT {schema}.leave_node(%s, %s)"
_DESCRIBE: Final = """
WITH view AS (UPDATE {schema}.cluster SET version = version + 1 RETURNING version),
     node AS (UPDATE {schema}.nodes SET about = %b WHERE id = %s AND buried_at IS NULL)
SELECT version FROM view
"""
_NEXT: Final = "SELECT nextval('{schema}.node_generations')"


class RegisterWorker(PostgresActor):
    """Admits, excuses and buries nodes, one request after the other.

    After a lost connection it opens another, and makes the request once more. That is harmless: a
    report or a burial can be made twice. If an admission is made twice, the first one is a node
    that does not live, and is buried.
    """

    batch_weight = 1

    def __init__(self, settings: PostgresSettings) -> None:
        # After a pause of a second or two a node would be taken for cut off.
        super().__init__(msgspec.structs.replace(settings, max_retry_s=settings.first_retry_s))
        self._settings = settings

    def answer(self, requests: Sequence[StoreRequest]) -> Sequence[Any]:
        return each_alone(self._run, requests)

    def _run(self, requests: Sequence[StoreRequest]) -> Sequence[Any]:
        return [
            self._link.run(lambda connection, one=request: self._do(connection, one))  # type: ignore[misc]
            for request in requests
        ]

    def _do(self, connection: psycopg.Connection, request: StoreRequest) -> Any:
        text, *arguments = _call(request)
        rows = connection.execute(qualified(self._settings, text), arguments).fetchall()
        match request:
            case ReadRegister():
                # Read after the view, so that whoever takes over from a dead node knows what held
                # it up.
                text = qualified(self._settings, _HELD)
                held = [HeldActor(*row) for row in connection.execute(text).fetchall()]
                return _register(rows)._replace(held=held)
            case ReportNode():
                return RegisterReport(*rows[0])
        return rows[0][0]


def _call(request: StoreRequest) -> tuple[Any, ...]:
    """Return the statement of a request, and its arguments."""
    call: tuple[Any, ...]
    match request:
        case AdmitNode(name, generation, about, process):
            call = _ADMIT, name, generation, about, process
        case ReportNode(node, generation, valkey_s, doubtful, fresh_s, witness):
            # PostgreSQL has no infinite interval here; a day is as good.
            valkey_s = min(valkey_s, 86_400.0)
            call = _REPORT, node, generation, valkey_s, doubtful, fresh_s, witness
        case ReadRegister():
            call = (_READ,)
        case BuryNode(node, by, why, lease_s):
            call = _BURY, node, by, why, lease_s
        case LeaveNode(node, over):
            call = _LEAVE, node, over
        case DescribeNode(node, about):
            call = _DESCRIBE, about, node
        case ReadCluster():
            call = (_CLUSTER,)
        case NextGeneration():
            call = (_NEXT,)
        case StoreCheck():
            call = ("SELECT NULL",)
        case _:
            raise RowRefused(f"not for the register: {request}")
    return call


def _register(rows: Sequence[Sequence[Any]]) -> Register:
    nodes = [
        RegisterRow(id_, name, generation, leaving, renewed_s, bytes(about), process)
        for id_, name, generation, leaving, renewed_s, about, process, _, _ in rows
        if id_ is not None
    ]
    *_, version, newest = rows[0]
    return Register(version, newest, nodes)
