"""The functions of 0008_schedules.sql: how each is called, for a worker and within a command.

Each takes columns, so that many go in one call. Rows are locked in the order given; sort them where
others lock several, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

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


def columns(
    requests: Sequence[SetSchedule] | Sequence[MoveSchedule] | Sequence[CancelSchedule],
) -> list[list[Any]]:
    """The fields of requests, which come in the order of the functions' parameters."""
    return [
        [getattr(request, field) for request in requests] for field in requests[0].__struct_fields__
    ]


def settled_columns(settled: Sequence[Settled]) -> list[list[Any]]:
    """The same of what became of claimed schedules."""
    return [
        [one.claimed.kind for one in settled],
        [one.claimed.key for one in settled],
        [one.claimed.name for one in settled],
        [one.claimed.id for one in settled],
        [one.claimed.attempt for one in settled],
        [one.wait_us for one in settled],
        [one.kept for one in settled],
    ]
