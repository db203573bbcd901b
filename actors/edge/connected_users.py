"""`ConnectedUsers`: which users have a connection, on this node or on any."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from actors.edge.hubs import Hubs
from actors.runtime.future import Future


class ConnectedUsers:
    """Counts the connections of each user on this node, and asks other nodes who is on them.

    Arguments:
        hubs: the way to other nodes; None: there are none.
    """

    def __init__(self, hubs: Hubs | None) -> None:
        self._hubs = hubs
        self._connections: dict[str, int] = {}

    def come(self, user: str) -> None:
        """Note one more connection of a user."""
        self._connections[user] = self._connections.get(user, 0) + 1

    def go(self, user: str) -> None:
        """Note that a connection of a user has ended."""
        left = self._connections[user] - 1
        if left:
            self._connections[user] = left
        else:
            del self._connections[user]

    def here(self, users: Iterable[str]) -> list[str]:
        """Return those of these users who have a connection on this node."""
        return [user for user in users if user in self._connections]

    def anywhere(self, users: Sequence[str]) -> Future[Collection[str]]:
        """Return a future of those of these users who have a connection, on any node.

        All nodes are asked at once. One that does not answer in time counts as if nobody were
        there.
        """
        found = set(self.here(users))
        answer: Future[Collection[str]] = Future()
        asked = [] if self._hubs is None or not users else self._hubs.ask_online(users)
        waiting = len(asked)

        def done(one: Future[Any]) -> None:
            nonlocal waiting
            waiting -= 1
            if one.exception() is None:
                found.update(one.result().users)
            if not waiting:
                answer.settle_quietly(found)

        for one in asked:
            one.when_done(done)
        if not asked:
            answer.settle_quietly(found)
        return answer
