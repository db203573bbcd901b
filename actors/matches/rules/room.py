"""The limits of how many matches run at once: of a user, of an address, and in all."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """How many matches may run at once.

    0 for `of_address` means no limit. A match that nobody joins ends `unjoined_ms` milliseconds
    after its creation.
    """

    of_all: int
    of_user: int
    of_address: int
    unjoined_ms: int


class MatchTally(NamedTuple):
    """How many of some matches run; and when the oldest that nobody has joined was created."""

    running: int = 0
    unjoined: int | None = None

    def with_one(self, now: int) -> MatchTally:
        """Return the tally after one more was created."""
        return MatchTally(self.running + 1, now if self.unjoined is None else self.unjoined)


class NoRoom(Exception):  # noqa: N818 - an answer
    """As many matches run as are allowed.

    `frees_in_ms` is the time until the first of them ends if nobody joins it; None: not known.
    """

    def __init__(self, detail: str, frees_in_ms: int | None) -> None:
        super().__init__(detail)
        self.frees_in_ms = frees_in_ms


def check_room(
    limits: Limits, *, now: int, user: MatchTally, address: MatchTally | None, everyone: MatchTally
) -> None:
    """Raise `NoRoom` if one more would be too many.

    Arguments:
        limits: how many there may be.
        now: the time, in the unit and of the clock of the tallies.
        user: the matches that its user had made.
        address: those that clients of its address had made; None: the address has no limits.
        everyone: all.
    """
    if user.running >= limits.of_user:
        raise _no_room(f"{limits.of_user} of this user run", user, limits, now)
    most = limits.of_address
    if address is not None and most and address.running >= most:
        detail = f"{most} that clients of this address had made run"
        raise _no_room(detail, address, limits, now)
    if everyone.running >= limits.of_all:
        raise _no_room("", everyone, limits, now)


def _no_room(detail: str, tally: MatchTally, limits: Limits, now: int) -> NoRoom:
    if tally.unjoined is None:
        return NoRoom(detail, None)
    return NoRoom(detail, max(0, tally.unjoined + limits.unjoined_ms - now))
