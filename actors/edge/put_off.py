"""Resumes of a session that wait until the outbox of its client has drained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from actors.edge.connected_client import ConnectedClient
from actors.runtime.actor import Actor
from actors.runtime.future import Future
from protocol.messages.envelope import Position


class Drained(msgspec.Struct, frozen=True):
    """A session to itself: this connection's outbox has drained, or the connection has ended."""

    client: ConnectedClient


class PutOffResumes:
    """The topics whose push had no room in the outbox, and the position in each.

    Arguments:
        actor: the session's actor, which gets `Drained`.
    """

    __slots__ = ("_actor", "_draining", "_positions")

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._draining = False  # the session waits for its outbox to drain
        self._positions: dict[str, Position] = {}

    def keep(self, topic: str, position: Position) -> None:
        """Have the topic resumed from there later."""
        self._positions[topic] = position

    def drop(self, topic: str) -> None:
        """Do not resume the topic any more."""
        self._positions.pop(topic, None)

    def drop_all(self) -> None:
        """Forget all of them, as their connection is not the session's any more."""
        self._positions.clear()
        self._draining = False

    def await_room(self, client: ConnectedClient | None) -> None:
        """Have the actor told when the client's outbox has drained, if anything waits for that."""
        if self._positions and not self._draining and client is not None:
            self._draining = True
            self._actor.pipe_to_self(client.drained(), partial(_drained, client))

    def after_drain(self, leaving: Callable[[str], bool]) -> Iterator[tuple[str, Position]]:
        """Take out one after the other, except those that the session is `leaving`."""
        self._draining = False
        for topic in list(self._positions):
            if not leaving(topic):
                yield topic, self._positions.pop(topic)


def _drained(client: ConnectedClient, _done: Future[None]) -> Drained:
    return Drained(client)
