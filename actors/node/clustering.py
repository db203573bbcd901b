"""A node's part in its cluster: it joins, is reached by hubs of other nodes, and leaves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from actors.cluster.cluster import Cluster
from actors.cluster.error_forms import ErrorForm
from actors.cluster.joining import Joining
from actors.cluster.membership import NodeMembership
from actors.edge.failures import Refused
from actors.edge.hub_actor import hub_kind
from actors.edge.hubs import Hubs
from actors.edge.remote_topics import RemoteTopics
from actors.edge.session import Session
from actors.edge.topics import Topics
from actors.edge.warden import SESSION_KIND
from actors.node.stopping import Stopping
from actors.runtime.kinds import Kind
from actors.runtime.system import ActorSystem
from actors.service import Running
from persistence import RedisSettings
from persistence.settings import BusSettings
from protocol.errors import ERRORS
from protocol.http.metrics import Reading, counter, gauge

_log = structlog.get_logger("actors.node.clustering")


@dataclass(frozen=True, kw_only=True)
class ClusterNode:
    """A node of a cluster.

    Attributes:
        membership: who the other nodes are, and what each holds.
        cluster: reaches actors on other nodes.
        hubs: reaches the hubs of other nodes.
    """

    membership: NodeMembership
    cluster: Cluster
    hubs: Hubs

    def connect(
        self,
        system: ActorSystem,
        topics: Topics,
        services: Iterable[Running],
        stopping: Stopping,
    ) -> None:
        """Have this node's hub and sessions reached from other nodes.

        Arguments:
            system: the node's.
            topics: the node's hub, which has `hubs`.
            services: told when more actors are placed here.
            stopping: asked to stop if this node is no member any more.
        """
        remote = RemoteTopics(topics, self.hubs, system)
        system.register(hub_kind(topics, remote))
        # Sessions are started by the gateway, and not by messages.
        self.cluster.register(
            Kind(name=SESSION_KIND, factory=_no_factory, actor=Session, placement="node")
        )
        self.membership.listen(_Listener(self.hubs, remote, tuple(services), stopping))
        self.cluster.on_gap(remote.node_lost)
        self.cluster.settle_in_turn(self.hubs.in_turn)

    async def check(self) -> str | None:
        """Return why other nodes cannot be reached; None: they can."""
        if self.membership.ended is not None:
            return f"no member any more: {self.membership.ended}"
        return None if self.cluster.healthy() else "messages do not come through the bus"

    async def check_labels(self) -> str | None:
        """Return which kinds have no node to be on; None: all have one."""
        return vacant(self.cluster.without_nodes()) or None

    def readings(self) -> Iterator[Reading]:
        """Yield the metrics of the cluster, as this node sees it."""
        member = self.membership
        nodes = member.view().nodes
        yield gauge("cluster_nodes", "Nodes of the cluster that live.", len(nodes))
        yield gauge("cluster_slots", "Slots of actors that this node holds.", member.held())
        yield counter("cluster_beats", "Heartbeats that Valkey answered.", member.beats)
        yield counter("cluster_beats_missed", "Heartbeats that it did not.", member.missed)
        text = "Actors that no node starts for a time, since one was caught in their code."
        yield gauge("cluster_actors_held", text, self.cluster.held_actors.count())
        text = "Messages that came to this node while another held their actors."
        yield counter("cluster_misdirected", text, self.cluster.misdirected)
        vacancies = sum(map(len, self.cluster.without_nodes().values()))
        text = "Kinds of actors that are kept to nodes with a label that no living node has."
        yield gauge("cluster_kinds_without_node", text, vacancies)
        text = "Times that another node took no more messages of this one's hub."
        yield counter("cluster_hub_lapses", text, self.hubs.lapses)
        bus = self.cluster.bus.readings()
        yield counter("cluster_bus_sent", "Entries sent to other nodes.", bus.sent)
        yield counter("cluster_bus_received", "Entries received from them.", bus.received)
        text = "Entries that had arrived before."
        yield counter("cluster_bus_duplicates", text, bus.duplicates)
        yield counter("cluster_bus_gaps", "Times that entries of a node were lost.", bus.gaps)
        text = "Messages of a newer version, left out."
        yield counter("cluster_bus_unknown", text, bus.unknown)
        text = "Bytes that wait to be sent to other nodes."
        yield gauge("cluster_bus_waiting_bytes", text, bus.waiting_bytes)
        text = "How long the last message took from this node through the store to itself."
        yield gauge("cluster_bus_hop_seconds", text, bus.hop_s)


async def join(
    system: ActorSystem,
    joining: Joining,
    redis: RedisSettings,
    bus: BusSettings,
) -> ClusterNode:
    """Make a system a node of its cluster. It leaves before its actors stop.

    Then the actors that the cluster has placed here are handed over to other nodes.

    Arguments:
        system: the node's.
        joining: how it joins.
        redis: where the bus is.
        bus: its bounds.

    Raises:
        NameTaken: a node of this name lives.
        LabelsDiffer: a node lives that keeps a kind to another label.
        StoreError: a store does not answer.
    """
    cluster = Cluster(joining, redis, bus, errors=ERROR_FORMS)
    await system.use_cluster(cluster)
    membership = joining.membership
    hubs = Hubs(system, membership.me, lambda: tuple(membership.view().nodes))
    return ClusterNode(membership=membership, cluster=cluster, hubs=hubs)


def vacant(labels: Mapping[str, Sequence[str]]) -> str:
    """Say which labels no living node has; "": each has one."""
    return "; ".join(
        f"no living node has the label {label!r}, for {', '.join(kinds)}"
        if label
        else f"no living node is for what is kept to no label: {', '.join(kinds)}"
        for label, kinds in labels.items()
    )


class _Listener:
    """Tells the hub of nodes that are gone, and the services of actors that are placed here.

    It ends a node that is no member any more.
    """

    def __init__(
        self,
        hubs: Hubs,
        remote: RemoteTopics,
        services: Sequence[Running],
        stopping: Stopping,
    ) -> None:
        self._hubs = hubs
        self._remote = remote
        self._services = services
        self._stopping = stopping

    def node_up(self, node: str) -> None:
        """Nothing is to be done."""

    def node_down(self, node: str) -> None:
        """Have the members of its topics resume."""
        self._hubs.forget(node)
        self._remote.node_lost(node)

    async def give_up(self, slots: frozenset[int], to: str) -> None:
        """The warden has the members of topics follow their owner."""

    def taken(self, slots: frozenset[int]) -> None:  # noqa: ARG002 - all services look
        """Have the services wake what ran on another node."""
        for running in self._services:
            running.placed()

    def moved(self, slots: frozenset[int]) -> None:
        """As for `give_up`."""

    def fenced(self, why: str) -> None:
        """Stop: its clients go on with other nodes."""
        _log.error("this node was cut off from the cluster", why=why)
        self._stopping.ask("cut off from the cluster")


def _dump(error: Refused) -> tuple[str, str, float | None]:
    return error.error.code, error.detail, error.retry_in_s


def _load(code: str, detail: str, retry_in_s: float | None) -> Refused:
    return Refused(ERRORS[code], detail, retry_in_s=retry_in_s)


ERROR_FORMS: Final = (ErrorForm(Refused, "refused", _dump, _load),)
"""Refusals cross between nodes as rows of the table of errors."""


def _no_factory(_key: str) -> Session:
    raise AssertionError("sessions are started by the gateway")
