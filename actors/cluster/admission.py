"""How a node joins the cluster."""

from __future__ import annotations

from collections.abc import Callable

import structlog
import trio

from actors.cluster.rules.applicant import Applicant
from actors.cluster.rules.labels import kept_differently
from actors.cluster.rules.lease import Timing
from actors.cluster.rules.member import Member
from actors.cluster.rules.placement import Placement
from actors.cluster.rules.view import Descriptor, Node, node_id, understand
from actors.cluster.stores import ClusterStores
from persistence import StoresDiffer

log = structlog.get_logger("actors.cluster")


class NameTaken(Exception):  # noqa: N818 - the name says what is the case
    """A living node has this name already. The attempt to join does not disturb it."""

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self.node = node

    def __str__(self) -> str:
        return f"{self.node} lives and has this name: give each node a name of its own"


class VersionsDiffer(Exception):  # noqa: N818 - as above
    """A living node and this one speak different versions, and one of them does not understand the
    other.
    """

    def __init__(self, node: str, there: Descriptor, here: Descriptor) -> None:
        super().__init__(node, there, here)
        self.node = node
        self.there = there
        self.here = here

    def __str__(self) -> str:
        here, there = self.here, self.there
        older = "this node is too old" if here.version < there.understood else "it is too old"
        return (
            f"{self.node} lives and speaks version {there.version} between nodes, understanding"
            f" {there.understood} and newer; this node speaks {here.version}, understanding"
            f" {here.understood} and newer: {older}, and they cannot be of one cluster"
        )


class LabelsDiffer(Exception):  # noqa: N818 - as above
    """A node lives that keeps a kind to another label than this one does."""

    def __init__(self, node: str, kind: str, there: str | None, here: str | None) -> None:
        super().__init__(node, kind, there, here)
        self.node = node
        self.kind = kind
        self.there = there
        self.here = here

    def __str__(self) -> str:
        there, here = (
            "to no label" if one is None else f"to the label {one!r}"
            for one in (self.there, self.here)
        )
        return (
            f"{self.node} lives and keeps actors of the kind {self.kind!r} {there},"
            f" this node {here}: that must be the same on all nodes; to change it, stop all of them"
        )


async def admit(
    stores: ClusterStores, descriptor: Descriptor, timing: Timing, clock: Callable[[], float]
) -> Member:
    """Join as a new incarnation of this name.

    It waits until an earlier incarnation is dead. If that one's process ran on this machine and has
    ended, there is nothing to wait for; else its lease must be over, which takes at most twice the
    lease.

    Raises:
        NameTaken: a node of this name lives.
        VersionsDiffer: the version of a living node is not compatible with this one's.
        LabelsDiffer: a node lives that keeps a kind to another label.
        StoresDiffer: living nodes have another Valkey, or nodes of another register have this one.
        StoreError: a store does not answer.
        ValueError: the name is not allowed for a node.
    """
    node_id(descriptor.name, 0)
    await stores.find_cluster()
    applicant, left_s = Applicant(timing), 0.0
    placement = Placement(descriptor.name)
    while True:
        view = await stores.view()
        earlier = next(
            (id_ for id_, one in view.nodes.items() if one.descriptor.name == descriptor.name), None
        )
        heard = await stores.beat("", 0, () if earlier is None else (earlier,))
        living = [one for one in view.nodes.values() if not stores.has_ended(one.id)]
        for one in living:
            _check_fits(one, descriptor)
        other = applicant.of_another(living, heard)
        if applicant.apart(clock(), other):
            raise StoresDiffer("redis", f"{other} of this register lives with another Valkey")
        if other is not None:
            await trio.sleep(timing.beat_s)
        elif not heard.generation:
            await stores.begin_generation()
        elif earlier is None:
            placement.update(view.nodes)  # before the lease begins, since it may take a second
            me = await stores.admit(descriptor, heard.generation)
            if me is not None:
                asked_s = clock()
                await stores.beat(me, 0, ())
                member = Member(me, timing, asked_s, heard.generation, placement)
                viewed_s = clock()
                member.viewed(viewed_s, await stores.view())
                await stores.announce(member.view.version)
                return member
        elif stores.has_ended(earlier):
            await bury(stores, earlier, "its process has ended", 0.0)
        elif applicant.may_bury(clock(), heard):
            await bury(stores, earlier, "another one has its name", timing.lease_s)
        elif 0 < left_s < heard.left_s:
            raise NameTaken(earlier)  # it has sent a heartbeat since the last look
        else:
            left_s = heard.left_s
            await trio.sleep(timing.beat_s * 1.5)


async def bury(stores: ClusterStores, node: str, why: str, lease_s: float) -> None:
    """Bury a node before this one is a member, so that there are no listeners to tell."""
    version = await stores.bury(node, "", why, lease_s)
    if version is None:
        await trio.sleep(0.1)
        return
    log.warning("node buried", node=node, why=why)
    await stores.announce(version, node)


def _check_fits(there: Node, here: Descriptor) -> None:
    """Raise VersionsDiffer or LabelsDiffer if these cannot live in one cluster."""
    if not understand(there.descriptor, here):
        raise VersionsDiffer(there.id, there.descriptor, here)
    kept = there.descriptor.kept
    kind = kept_differently(kept, here.kept)
    if kind is not None:
        raise LabelsDiffer(there.id, kind, kept.get(kind), here.kept.get(kind))
