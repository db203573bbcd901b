"""The calls of the functions of 0008_schedules.sql, for a worker and within a command.

Each function takes columns, so that one call does many rows. It locks the rows in the order given,
so sort them where other transactions lock several rows as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import astuple

from persistence.postgres.arrays import columns
from persistence.schedules.requests import CancelSchedule, MoveSchedule, SetSchedule
from persistence.schedules.rows import Settled

SET: Final = (
    "SELECT * FROM set_schedules(%s::text[], %s::text[], %s::text[], %s::bigint[],"
    " %s::bigint[], %s::bigint[], %b::bytea[], %s, %s::bigint)"
)
MOVE: Final = (
    "SELECT * FROM move_schedules(%s::text[], %s::text[], %s::text[], %s::bigint[],"
    " %s::bigint[], %s::bigint[], %s::bigint)"
)
CANCEL: Final = "SELECT * FROM cancel_schedules(%s::text[], %s::text[], %s::text[], %s::bigint[])"
CLAIM: Final = "SELECT * FROM claim_schedules(%s, %s, %s::bigint)"
SETTLE: Final = (
    "SELECT * FROM settle_schedules(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[],"
    " %s::bigint[], %s::boolean[], %s::bigint)"
)


def request_columns(
    requests: Sequence[SetSchedule] | Sequence[MoveSchedule] | Sequence[CancelSchedule],
) -> list[list[Any]]:
    """Return the fields of requests as columns, in the order of the functions' parameters."""
    return columns(map(astuple, requests))


def settled_columns(settled: Sequence[Settled]) -> list[list[Any]]:
    """Return settled schedules as columns, in the order of the function's parameters."""
    return columns(
        (claimed.kind, claimed.key, claimed.name, claimed.id, claimed.attempt, wait_us, kept)
        for claimed, wait_us, kept in settled
    )
