"""The members of a room: its sessions, and their users, each user once."""

from __future__ import annotations

from itertools import islice
from typing import Generic, TypeVar

P = TypeVar("P")


class Roster(Generic[P]):
    """Sessions by user, users in the order they came. `P` is a value that describes a user.

    A user is in the roster from their first session to their last one.
    """

    __slots__ = ("_people", "_user_of")

    def __init__(self) -> None:
        self._people: dict[str, tuple[P, set[str]]] = {}
        self._user_of: dict[str, str] = {}

    def __len__(self) -> int:
        """The number of sessions."""
        return len(self._user_of)

    def __contains__(self, session: str) -> bool:
        return session in self._user_of

    @property
    def users(self) -> int:
        return len(self._people)

    def person(self, session: str) -> P | None:
        """Return the user of a session; None: the session is not in the roster."""
        user = self._user_of.get(session)
        return None if user is None else self._people[user][0]

    def add(self, session: str, user: str, person: P) -> bool:
        """Add a session; returns whether it is the first one of its user.

        To add a session again changes nothing. The `person` given first is kept for as long as the
        user is in the roster.
        """
        if session in self._user_of:
            return False
        self._user_of[session] = user
        known = self._people.get(user)
        if known is not None:
            known[1].add(session)
            return False
        self._people[user] = (person, {session})
        return True

    def remove(self, session: str) -> P | None:
        """Remove a session; returns its user if it was their last one."""
        user = self._user_of.pop(session, None)
        if user is None:
            return None
        person, sessions = self._people[user]
        sessions.discard(session)
        if sessions:
            return None
        del self._people[user]
        return person

    def first(self, limit: int) -> list[P]:
        """Return the `limit` users who came first."""
        return [person for person, _ in islice(self._people.values(), limit)]
