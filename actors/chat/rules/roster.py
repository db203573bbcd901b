"""Who is in a room: sessions, and the users they belong to, each user once."""

from __future__ import annotations

from itertools import islice
from typing import Generic, TypeVar

P = TypeVar("P")


class Roster(Generic[P]):
    """Sessions by user, users in the order they came. `P` is what is known of a user.

    A user is there from their first session to their last one.
    """

    __slots__ = ("_people", "_user_of")

    def __init__(self) -> None:
        self._people: dict[str, tuple[P, set[str]]] = {}
        self._user_of: dict[str, str] = {}

    def __len__(self) -> int:
        """Sessions."""
        return len(self._user_of)

    def __contains__(self, session: str) -> bool:
        return session in self._user_of

    @property
    def users(self) -> int:
        return len(self._people)

    def person(self, session: str) -> P | None:
        """Whose session it is; None: it is not here."""
        user = self._user_of.get(session)
        return None if user is None else self._people[user][0]

    def add(self, session: str, user: str, person: P) -> bool:
        """Add a session; returns whether its user was not here before. Adding it again is harmless,
        and the first word on a person stands for as long as they are here.
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
        """Remove a session; returns the person if it was the last one of theirs."""
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
        """The `limit` people who came first."""
        return [person for person, _ in islice(self._people.values(), limit)]
