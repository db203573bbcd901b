"""Who has come and gone in a big room since the members were told last."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

P = TypeVar("P")


class Comers(NamedTuple, Generic[P]):
    """Who is there now and was not, and who was there and is not."""

    joined: list[P]
    left: list[P]


class Comings(Generic[P]):
    """The changes of one interval, each user once: who comes and goes within it has not been there.

    `P` is a value that describes a user, as in `Roster`.
    """

    __slots__ = ("_users", "due")

    def __init__(self) -> None:
        self.due = False
        """Whether the members are to be told at the end of the interval."""
        self._users: dict[str, tuple[P | None, P | None]] = {}  # how it was, and how it is

    def joined(self, user: str, person: P) -> None:
        """Note that a user has come."""
        before, _ = self._users.get(user, (None, None))
        self._users[user] = before, person

    def left(self, user: str, person: P) -> None:
        """Note that a user has gone."""
        before, _ = self._users.get(user, (person, None))
        self._users[user] = before, None

    def end_interval(self, most: int) -> Comers[P] | None:
        """End the interval; returns what has changed in it. None: more than `most` users have."""
        users, self._users, self.due = self._users, {}, False
        changed = [(before, now) for before, now in users.values() if before != now]
        if len(changed) > most:
            return None
        return Comers(
            [now for _, now in changed if now is not None],
            [before for before, _ in changed if before is not None],
        )
