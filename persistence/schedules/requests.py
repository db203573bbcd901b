"""The requests to a `ScheduleWorker`, and the checks that come before them."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from typing import Final

from persistence.errors import RowRefused
from persistence.requests import StoreRequest
from persistence.schedules.rows import Settled
from persistence.settings import ScheduleSettings

NAME_BYTES: Final = 2000
"""The most bytes of kind, key and name together. An entry of an index has room for 2,700."""
_LATEST_US: Final = 2**62
"""The latest time, in the year 148,000. The sum of two such times fits into a bigint."""


class SetSchedule(StoreRequest, frozen=True, gc=False):
    """Set a schedule, in place of another of the same name. Reply: `due_us`.

    Exactly one of `at_us` and `after_us` is given. The asker makes the `id`, so that a request
    which is repeated after a lost connection sets the same schedule.
    """

    kind: str
    key: str
    name: str
    id: int
    at_us: int | None
    after_us: int | None
    payload: bytes


class MoveSchedule(StoreRequest, frozen=True, gc=False):
    """Give a schedule another time, and this id. Reply: `due_us`; None: it does not exist."""

    kind: str
    key: str
    name: str
    id: int
    at_us: int | None
    after_us: int | None


class CancelSchedule(StoreRequest, frozen=True, gc=False):
    """Delete a schedule; with an `id`, only if it has that id. Reply: whether it was there."""

    kind: str
    key: str
    name: str
    id: int | None


class ClaimSchedules(StoreRequest, frozen=True, gc=False):
    """Claim at most `room` due schedules, for `claim_us`. Reply: a `Claim`."""

    room: int
    claim_us: int


class SettleSchedules(StoreRequest, frozen=True, gc=False):
    """Settle claimed schedules. Reply: those to be sent again, whose rows were locked."""

    settled: Sequence[Settled]


def new_id() -> int:
    """Return an id that no other schedule of the same name has had."""
    return secrets.randbits(63)


def to_set(
    settings: ScheduleSettings,
    kind: str,
    key: str,
    name: str,
    *,
    payload: bytes,
    at_us: int | None,
    after_s: float | None,
) -> SetSchedule:
    """Return a checked request. Raises `RowRefused`, and ValueError for the time."""
    check_schedule_name(kind, key, name)
    if len(payload) > settings.payload_bytes:
        raise RowRefused(f"a schedule's payload has at most {settings.payload_bytes} bytes")
    return SetSchedule(kind, key, name, new_id(), *_when(at_us, after_s), payload)


def to_move(
    kind: str, key: str, name: str, *, at_us: int | None, after_s: float | None
) -> MoveSchedule:
    """Return a checked request. Raises `RowRefused`, and ValueError for the time."""
    check_schedule_name(kind, key, name)
    return MoveSchedule(kind, key, name, new_id(), *_when(at_us, after_s))


def to_cancel(kind: str, key: str, name: str, id_: int | None) -> CancelSchedule:
    """Return a checked request. Raises `RowRefused`."""
    check_schedule_name(kind, key, name)
    return CancelSchedule(kind, key, name, id_)


def check_schedule_name(kind: str, key: str, name: str) -> None:
    """Raise `RowRefused` if the names are too long, or no TEXT for PostgreSQL."""
    together = kind + key + name
    try:
        size = len(together.encode())
    except UnicodeEncodeError as error:
        raise RowRefused(str(error)) from None
    if size > NAME_BYTES or "\0" in together:
        raise RowRefused(
            f"kind, key and name of a schedule have at most {NAME_BYTES} bytes, and no NUL"
        )


def _when(at_us: int | None, after_s: float | None) -> tuple[int | None, int | None]:
    if (at_us is None) == (after_s is None):
        raise ValueError("give either at_us or after_s")
    if at_us is not None:
        if not 0 <= at_us <= _LATEST_US:
            raise ValueError(f"at_us must be from 0 to {_LATEST_US}, not {at_us}")
        return at_us, None
    assert after_s is not None
    if not 0 <= after_s <= _LATEST_US / 1e6:
        raise ValueError(f"after_s must be a duration, not {after_s}")
    return None, math.ceil(after_s * 1e6)
