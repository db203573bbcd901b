"""What a member asks of the stores, in the words of the rules."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from actors.cluster.rules.answers import Beaten, Reported
from actors.cluster.rules.lease import Timing
from actors.cluster.rules.member import Change
from actors.cluster.rules.slot_table import Held
from actors.cluster.rules.view import Descriptor, Node, View, node_id
from actors.cluster.store_line import StoreLine
from actors.runtime.child import ChildSpec
from actors.runtime.ref import ActorRef
from actors.runtime.system import ActorSystem
from persistence import PostgresSettings, RedisSettings
from persistence.nodes import (
    AdmitNode,
    Announce,
    BeginGeneration,
    BuryNode,
    ChangeSlots,
    DescribeNode,
    Heard,
    Heartbeat,
    LeaveNode,
    NextGeneration,
    ReadCluster,
    ReadRegister,
    Register,
    RegisterReport,
    RegisterRow,
    ReportNode,
)
from persistence.postgres.lease import Holder, this_process
from persistence.postgres.nodes import RegisterWorker
from persistence.redis.nodes import NodeWorker

KIND: Final = "cluster"
"""The kind of the stores' threads: one is `cluster/valkey`."""


async def start_cluster_stores(
    system: ActorSystem, redis: RedisSettings, postgres: PostgresSettings, timing: Timing
) -> ClusterStores:
    """Start the threads of the stores in a system, and wait for them.

    Heartbeats and reports have threads of their own: a lease must not wait for a claim.
    """
    valkey = partial(NodeWorker, redis, timeout_s=timing.lease_s / 4)
    register = partial(RegisterWorker, postgres)
    specs = [
        ChildSpec(id="beats", factory=valkey),
        ChildSpec(id="slots", factory=valkey),
        ChildSpec(id="reports", factory=register),
        ChildSpec(id="register", factory=register),
    ]
    await system.supervise(specs, key=KIND).started()
    return ClusterStores(*(system.ref(KIND, spec.id) for spec in specs), timing=timing)


class ClusterStores:
    """Valkey and the register. Every method raises `StoreError` if its store does not answer.

    Arguments:
        beats, slots: answer for a `NodeWorker` each.
        reports, register: answer for a `RegisterWorker` each.
        timing: the times of the cluster.
    """

    def __init__(
        self,
        beats: ActorRef,
        slots: ActorRef,
        reports: ActorRef,
        register: ActorRef,
        *,
        timing: Timing,
    ) -> None:
        self._beats = StoreLine(beats, "redis")
        self._slots = StoreLine(slots, "redis")
        self._reports = StoreLine(reports, "postgresql")
        self._register = StoreLine(register, "postgresql")
        self._timing = timing
        self._processes: dict[str, Holder] = {}
        self._cluster = ""

    async def find_cluster(self) -> None:
        """Read which cluster this is. Call it before anything else."""
        self._cluster = await self._register.ask(ReadCluster(), self._timing.patience_s)

    # --- Valkey ----------------------------------------------------------------------------------

    async def beat(self, node: str, since: int, watched: Sequence[str]) -> Beaten:
        """Send the heartbeat of a node and return the answer; with "" it only asks."""
        timing = self._timing
        lease_ms, gap_ms = round(timing.lease_s * 1000), round(timing.gap_s * 1000)
        heard: Heard = await self._beats.ask(
            Heartbeat(node, lease_ms, gap_ms, since, watched, self._cluster), timing.patience_s
        )
        return Beaten(
            generation=heard.generation,
            view=heard.view,
            calm_s=heard.calm_ms / 1000,
            missing=[
                name for name, left_ms in zip(watched, heard.left_ms, strict=False) if not left_ms
            ],
            left_s=max(heard.left_ms, default=0) / 1000,
            news=[Held(*held) for held in heard.news],
            heard=heard.heard,
            more=heard.more,
        )

    async def begin_generation(self) -> None:
        """Begin a generation of Valkey's data, unless another node has done so."""
        number = await self._register.ask(NextGeneration(), self._timing.patience_s)
        await self._slots.ask(BeginGeneration(number, self._cluster), self._timing.patience_s)

    async def change(
        self, generation: int, changes: Sequence[Change], to: str | None, view: int
    ) -> list[Held]:
        """Give slots another holder, by the view of this version; returns those that were changed.

        Nodes that hear of the change also hear that there is such a view.
        """
        held = await self._slots.ask(
            ChangeSlots(generation, changes, to, view), self._timing.patience_s
        )
        return [Held(*one) for one in held]

    async def announce(self, version: int, *gone: str) -> None:
        """Announce that there is a new view, without these nodes."""
        await self._slots.ask(Announce(version, gone), self._timing.patience_s)

    # --- the register ----------------------------------------------------------------------------

    async def view(self) -> View:
        """Return the living nodes."""
        register: Register = await self._register.ask(ReadRegister(), self._timing.patience_s)
        self._processes = {
            row.id: msgspec.json.decode(row.process, type=Holder) for row in register.nodes
        }
        nodes = {row.id: _node(row) for row in register.nodes}
        held = {(kind, key): left_s for kind, key, left_s in register.held}
        return View(register.version, nodes, register.newest, held)

    async def report(
        self, node: str, generation: int, valkey_s: float, *, doubtful: bool, witness: bool
    ) -> Reported:
        """Report that a node lives."""
        report: RegisterReport = await self._reports.ask(
            ReportNode(node, generation, valkey_s, doubtful, self._timing.fresh_s, witness),
            self._timing.patience_s,
        )
        return Reported(report.buried, report.excused, report.version)

    async def admit(self, descriptor: Descriptor, generation: int) -> str | None:
        """Admit this process; returns its node id, or None: a node of this name lives."""
        about, process = msgspec.json.encode(descriptor), msgspec.json.encode(this_process())
        incarnation = await self._register.ask(
            AdmitNode(descriptor.name, generation, about, process.decode()), self._timing.patience_s
        )
        return None if incarnation is None else node_id(descriptor.name, incarnation)

    async def describe(self, node: str, descriptor: Descriptor) -> int:
        """Change the descriptor of a node; returns the version of the view."""
        about = msgspec.json.encode(descriptor)
        version: int = await self._register.ask(DescribeNode(node, about), self._timing.patience_s)
        return version

    async def bury(self, node: str, by: str, why: str, lease_s: float) -> int | None:
        """Bury a node; returns the version of the view without it, or None: it is not buried."""
        version: int | None = await self._register.ask(
            BuryNode(node, by, why, lease_s), self._timing.patience_s
        )
        return version

    async def leave(self, node: str, *, over: bool) -> int:
        """Say that a node is about to leave, or has left; returns the version of the view."""
        version: int = await self._register.ask(LeaveNode(node, over), self._timing.patience_s)
        return version

    def has_ended(self, node: str) -> bool:
        """Whether a node's process ran on this machine, and is known to have ended."""
        process = self._processes.get(node)
        return process is not None and process.is_gone()


def _node(row: RegisterRow) -> Node:
    try:
        descriptor = msgspec.json.decode(row.about, type=Descriptor)
    except msgspec.DecodeError:
        # another version wrote it: the node lives, and what it says is not known here
        descriptor = Descriptor(name=row.name, weight=0.0)
    return Node(
        id=row.id,
        descriptor=descriptor,
        generation=row.generation,
        leaving=row.leaving,
        renewed_s=row.renewed_s,
    )
