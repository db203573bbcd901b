"""Nodes of a cluster in one actor system: each has its hub, and reaches the others by their actors.

Owners of topics live on the first node unless a test moves them, and clients connect to the nodes
that the `Layout` says. So the same scenarios run with members on the owner's node, on another one,
and on both. Every message between hubs is encoded and decoded, as if it crossed to another process.
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final

import msgspec

from actors.edge.fanout import Fanout
from actors.edge.hub_actor import hub_kind
from actors.edge.hub_messages import TO_HUBS, NewIncarnation
from actors.edge.hubs import Hubs
from actors.edge.identity import node_of
from actors.edge.remote_topics import RemoteTopics
from actors.edge.settings import SessionSettings
from actors.edge.topics import Topics
from actors.edge.warden import KIND as WARDEN
from actors.edge.warden import SESSION_KIND, Warden
from actors.runtime.future import Future
from actors.runtime.kinds import Kind
from actors.runtime.messages import Terminated
from actors.runtime.ref import ActorRef
from actors.runtime.system import ActorSystem

OWNERS: Final = "a.1"
OTHERS: Final = "b.1"


class Layout(enum.Enum):
    """Where the clients of a test connect, as seen from the owners of their topics."""

    ONE_NODE = "one node"
    ELSEWHERE = "elsewhere"
    MIXED = "mixed"


LAYOUT: ContextVar[Layout] = ContextVar("layout", default=Layout.ONE_NODE)


class CodedHubs(Hubs):
    """A way to other nodes that encodes every message, as between two processes.

    `crossed` counts the messages by type.
    """

    def __init__(self, system: ActorSystem, node: str, crossed: Counter[type]) -> None:
        super().__init__(system, node, lambda: (OWNERS, OTHERS))
        self._crossed = crossed

    def send(self, node: str, message: msgspec.Struct) -> None:
        if node == self.node:
            super().send(node, message)
            return
        kind = type(message)
        assert kind in TO_HUBS
        self._crossed[kind] += 1
        decoded = msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=kind)
        assert decoded == message
        super().send(node, decoded)


class Node:
    """One node's hub. `name`: its id; empty: there is no cluster."""

    def __init__(self, name: str, topics: Topics, remote: RemoteTopics | None = None) -> None:
        self.name = name
        self.topics = topics
        self.remote = remote


class Nodes:
    """The nodes of a system, and on which of them the owners of topics live.

    Attributes:
        crossed: how many messages one hub has sent to another, by type.
        kinds: those of owners of topics.
    """

    def __init__(self, system: ActorSystem, layout: Layout, settings: SessionSettings) -> None:
        self.layout = layout
        self.crossed: Counter[type] = Counter()
        self.kinds: set[str] = set()
        self._moved: dict[tuple[str, str], Node] = {}
        names = [""] if layout is Layout.ONE_NODE else [OWNERS, OTHERS]
        self._nodes = {name: self._node(system, name, settings) for name in names}
        self._turns = itertools.cycle(self._clients())
        system.register(_warden_kind(self))
        if layout is not Layout.ONE_NODE:
            hubs = {
                node.name: hub_kind(node.topics, node.remote)
                for node in self._nodes.values()
                if node.remote is not None
            }
            system.register(_by_key(hubs))

    def _node(self, system: ActorSystem, name: str, settings: SessionSettings) -> Node:
        if not name:
            return Node(name, Topics(fanout=Fanout(settings)))
        hubs = CodedHubs(system, name, self.crossed)
        topics = Topics(fanout=Fanout(settings), hubs=hubs)
        return Node(name, topics, RemoteTopics(topics, hubs, system))

    def _clients(self) -> list[str]:
        match self.layout:
            case Layout.ONE_NODE:
                return [""]
            case Layout.ELSEWHERE:
                return [OTHERS]
            case Layout.MIXED:
                return [OTHERS, OWNERS]

    def __iter__(self) -> Any:
        return iter(self._nodes.values())

    def named(self, name: str) -> Node:
        """The node with this id."""
        return self._nodes[name]

    def next_for_client(self) -> Node:
        """Where the next client connects."""
        return self._nodes[next(self._turns)]

    def of_session(self, session: str) -> Node:
        """Where a session lives."""
        return self._nodes[node_of(session) or ""]

    def of_owner(self, kind: str, key: str) -> Node:
        """Where the owner of a topic lives."""
        return self._moved.get((kind, key)) or next(iter(self._nodes.values()))

    def is_member(self, topic: str, session: str) -> bool:
        """Whether the hub of a session's node has it as a member of a topic."""
        there, owners = self.of_session(session), self.of_owner(*topic.split(":", 1))
        if there.remote is None or there is owners:
            return there.topics.is_member(topic, session)
        audience = there.remote.audience(NewIncarnation(owners.name, topic, 0))
        return audience is not None and session in audience.members

    def move(self, kind: str, key: str, to: str) -> None:
        """Have the owner of a topic live on that node from its next start on."""
        self._moved[kind, key] = self._nodes[to]

    def placed(self, kinds: Sequence[Kind]) -> Kind:
        """Return the kind of an actor that lives on the node that its key names.

        `kinds` has the kind as each node registers it.
        """
        self.kinds.add(kinds[0].name)
        first, by_node = kinds[0], dict(zip(self._nodes.values(), kinds, strict=True))
        return dataclasses.replace(
            first, factory=lambda key: by_node[self.of_owner(first.name, key)].factory(key)
        )


class PlacedRef(ActorRef):
    """A ref to the owner of a topic. A session on another node hears its answers in turn.

    As from a cluster: once the session's hub has done what the owner's node has told it before.
    """

    __slots__ = ("_home", "_nodes")

    def __init__(self, nodes: Nodes, system: ActorSystem, kind: str, key: str) -> None:
        super().__init__(system, kind, key)
        self._home = system.home
        self._nodes = nodes

    def ask(self, message: Any, **how: Any) -> Any:
        answer = super().ask(message, **how)
        session = getattr(getattr(message, "who", None), "session", "")
        hubs = self._nodes.of_session(session).topics.hubs if node_of(session) else None
        if hubs is None or hubs.node == self._nodes.of_owner(self.kind, self.key).name:
            return answer
        settled: Future[Any] = Future(self._home)
        answer.when_done(lambda _: hubs.in_turn(lambda: settled.follow(answer)))
        return settled


class PlacedSystem(ActorSystem):
    """A system whose kinds live where `Nodes` says, whoever registers them."""

    nodes: Nodes | None = None

    def ref(self, kind: str, key: str) -> ActorRef:
        if self.nodes is not None and kind in self.nodes.kinds:
            return PlacedRef(self.nodes, self, kind, key)
        return super().ref(kind, key)

    def register_instead(self, kind: Kind) -> None:
        """Register this kind in place of the kind of the same name."""
        self.register_as(kind.name, lambda _: kind)

    def register_as(self, name: str, place: Callable[[Kind], Kind]) -> None:
        """Register what `place` makes of the kind of this name."""
        self.__dict__.setdefault("instead", {})[name] = place

    def register(self, kind: Kind) -> None:
        place = self.__dict__.get("instead", {}).get(kind.name)
        super().register(kind if place is None else place(kind))


def _by_key(kinds: Mapping[str, Kind]) -> Kind:
    first = next(iter(kinds.values()))
    return dataclasses.replace(first, factory=lambda key: kinds[key].factory(key))


def _warden_kind(nodes: Nodes) -> Kind:
    """The kind of a single warden, which clears the hub of the node that an ended actor was on."""

    class EveryWarden(Warden):
        def __init__(self, _key: str) -> None:
            super().__init__(next(iter(nodes)).topics)

        def ended(self, message: Terminated) -> None:
            if message.reason == "moved":  # who moved it has told the hub that it was on
                return
            kind, key = message.ref.kind, message.ref.key
            there = nodes.of_session(key) if kind == SESSION_KIND else nodes.of_owner(kind, key)
            self._topics = there.topics
            super().ended(message)

    return Kind(name=WARDEN, factory=EveryWarden, restart="permanent")
