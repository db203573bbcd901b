"""The functions of 0008_schedules.sql: how each is called, for a worker and within a command.

Each takes columns, so that many go in one call. Rows are locked in the order given; sort them where
others lock several, too.
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
    """The fields of requests, which come in the order of the functions' parameters."""
    return columns(map(astuple, requests))


def settled_columns(settled: Sequence[Settled]) -> list[list[Any]]:
    """What became of claimed schedules, in the order of the function's parameters."""
    return columns(
        (claimed.kind, claimed.key, claimed.name, claimed.id, claimed.attempt, wait_us, kept)
        for claimed, wait_us, kept in settled
    )
