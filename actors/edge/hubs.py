"""The way to the hubs of other nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import pykka

from actors.edge.hub_messages import AskOnline, InTurn, Lapsed
from actors.edge.identity import node_of
from actors.runtime.errors import ActorFailed, MailboxFull
from actors.runtime.future import Future
from actors.runtime.ref import ActorRef
from actors.runtime.system_view import SystemView

KIND: Final = "hub"
"""The actor `hub/<node id>` is the hub of a node, as the hubs of other nodes reach it."""

ONLINE_WITHIN_S: Final = 1.0
"""How long a node may take to say who is online there."""

AGAIN_S: Final = 0.1
"""The pause before a node that took no more messages is told so again."""


class Hubs:
    """Tells the hubs of other nodes what happens to their sessions' topics.

    What is told to one node arrives there in order. If a message cannot be sent, because the queue
    to that node is full, some members there have missed a push. From then on nothing more is sent
    to that node, until it has taken the message that says so (`Lapsed`). Its clients then reconnect
    and resume, as one does that was too slow for its own connection.

    Arguments:
        system: where refs lead to the hubs.
        node: the id of this node.
        nodes: returns the ids of all nodes that live.

    Attributes:
        lapses: how often a node took no more messages, for the metrics.
    """

    def __init__(
        self, system: SystemView, node: str, nodes: Callable[[], Iterable[str]] = tuple
    ) -> None:
        self.node = node
        self._nodes = nodes
        self.lapses = 0
        self._system = system
        self._refs: dict[str, ActorRef] = {}
        self._behind: set[str] = set()
        self._last = 0

    def number(self) -> int:
        """Return a number for a subscription, another one each time."""
        self._last += 1
        return self._last

    def home_of(self, session: str) -> str | None:
        """Return the node of a session, if it is another node than this one."""
        node = node_of(session)
        return None if node == self.node else node

    def reaches(self, node: str) -> bool:
        """Whether that node takes messages now, as far as is known."""
        return node not in self._behind

    def tell(self, node: str, message: msgspec.Struct) -> bool:
        """Send a message to the hub of a node; returns whether it was sent."""
        if node in self._behind:
            return False
        try:
            self.send(node, message)
        except (MailboxFull, ActorFailed):
            self.lapses += 1
            self._behind.add(node)
            self._system.after(AGAIN_S, partial(self._catch_up, node))
            return False
        except pykka.ActorDeadError:  # the node is dead; its members end, as their sessions have
            return False
        return True

    def send(self, node: str, message: msgspec.Struct) -> None:
        """Send a message to the hub of a node. Raises what `ActorRef.tell` raises."""
        ref = self._refs.get(node)
        if ref is None:
            ref = self._refs[node] = self._system.ref(KIND, node)
        ref.tell(message)

    def ask_online(self, users: Sequence[str]) -> list[Future[Any]]:
        """Ask all other nodes which of these users have a connection there."""
        question = AskOnline(users)
        return [
            self._system.ref(KIND, node).ask(question, timeout=ONLINE_WITHIN_S)
            for node in self._nodes()
            if node != self.node
        ]

    def in_turn(self, call: Callable[[], object]) -> None:
        """Call this once this node's hub has done what other nodes have told it so far.

        An owner's answer waits so for the pushes that were sent before it.
        """
        try:
            self.send(self.node, InTurn(call))
        except (MailboxFull, ActorFailed, pykka.ActorDeadError):
            call()

    def forget(self, node: str) -> None:
        """Keep nothing of a node that is dead."""
        self._refs.pop(node, None)
        self._behind.discard(node)

    def _catch_up(self, node: str) -> None:
        if node not in self._behind:
            return
        try:
            self.send(node, Lapsed(self.node))
        except (MailboxFull, ActorFailed):
            self._system.after(AGAIN_S, partial(self._catch_up, node))
        except pykka.ActorDeadError:
            self._behind.discard(node)
        else:
            self._behind.discard(node)
