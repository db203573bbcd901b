"""What a `ScheduleWorker` can be asked, checked before it is."""

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
"""Kind, key and name together; an entry of an index has room for 2,700."""
_LATEST_US: Final = 2**62
"""In the year 148,000. A sum of two fits into a bigint."""


class SetSchedule(StoreRequest, frozen=True, gc=False):
    """Set one, in place of what bears the name. Reply: `due_us`.

    Exactly one of `at_us` and `after_us` is given. `id` is made by who asks, so that what is done
    twice after a lost connection is the same schedule.
    """

    kind: str
    key: str
    name: str
    id: int
    at_us: int | None
    after_us: int | None
    payload: bytes


class MoveSchedule(StoreRequest, frozen=True, gc=False):
    """Give one another time, and this id. Reply: `due_us`, or None if there is none."""

    kind: str
    key: str
    name: str
    id: int
    at_us: int | None
    after_us: int | None


class CancelSchedule(StoreRequest, frozen=True, gc=False):
    """Take one out; with an `id` only if it still has that. Reply: whether it was there."""

    kind: str
    key: str
    name: str
    id: int | None


class ClaimSchedules(StoreRequest, frozen=True, gc=False):
    """Claim what is due, at most `room`, for `claim_us`. Reply: a `Claim`."""

    room: int
    claim_us: int


class SettleSchedules(StoreRequest, frozen=True, gc=False):
    """Say what became of claimed ones. Reply: those to be told again, as they were locked."""

    settled: Sequence[Settled]


def new_id() -> int:
    """An id that no other setting of the same name has had."""
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
    """A request, checked. Raises `RowRefused`, and ValueError for the time."""
    check_name(kind, key, name)
    if len(payload) > settings.payload_bytes:
        raise RowRefused(f"a schedule's payload has at most {settings.payload_bytes} bytes")
    return SetSchedule(kind, key, name, new_id(), *_when(at_us, after_s), payload)


def to_move(
    kind: str, key: str, name: str, *, at_us: int | None, after_s: float | None
) -> MoveSchedule:
    """A request, checked. Raises `RowRefused`, and ValueError for the time."""
    check_name(kind, key, name)
    return MoveSchedule(kind, key, name, new_id(), *_when(at_us, after_s))


def to_cancel(kind: str, key: str, name: str, id_: int | None) -> CancelSchedule:
    """A request, checked. Raises `RowRefused`."""
    check_name(kind, key, name)
    return CancelSchedule(kind, key, name, id_)


def check_name(kind: str, key: str, name: str) -> None:
    """Raises `RowRefused` for what no row can hold."""
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
