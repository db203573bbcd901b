"""Models of Valkey and of the register of a cluster, as a member sees them.

`tests/persistence` has the same scenarios with the real ones.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import msgspec

from actors.cluster.rules.answers import Beaten, Reported
from actors.cluster.rules.lease import Timing
from actors.cluster.rules.member import Change
from actors.cluster.rules.slot_table import GENERATION_BITS, Held
from actors.cluster.rules.view import Descriptor, Node, View, node_id


class Away(Exception):  # noqa: N818 - the name says what is the case
    """A store does not answer. Whether it did what it was asked is not known."""


class ModelledValkey:
    """Heartbeats, slots and the version of the view. `now_s` is its wall clock."""

    def __init__(self, timing: Timing) -> None:
        self.timing = timing
        self.now_s = 0.0
        self.run_id = 0
        self._flush()
        self._saved = copy.deepcopy(self.__dict__)

    def _flush(self) -> None:
        self.generation: int | None = None
        self.of_run = -1
        self.counter = 0
        self.view = 0
        self.era_s = self.seen_s = 0.0
        self.beats: dict[str, float] = {}
        self.slots: dict[int, tuple[int, str | None]] = {}

    # --- faults ----------------------------------------------------------------------------------

    def flush(self) -> None:
        self._flush()

    def save(self) -> None:
        """What is there now will be there after a failover."""
        self._saved = copy.deepcopy({k: v for k, v in self.__dict__.items() if k != "_saved"})

    def fail_over(self) -> None:
        """Go on from what was saved last, as another process would."""
        now_s, run_id, saved = self.now_s, self.run_id, self._saved
        self.__dict__.update(copy.deepcopy(saved))
        self._saved = saved
        self.now_s, self.run_id = now_s, run_id + 1

    # --- scripts ---------------------------------------------------------------------------------

    def beat(self, me: str, since: int, watched: Sequence[str]) -> Beaten:
        lease_s = self.timing.lease_s
        if me:
            self.beats[me] = self.now_s + lease_s
        if self.generation is None or self.of_run != self.run_id:
            return Beaten(0)
        if not 0 <= self.now_s - self.seen_s <= self.timing.gap_s:
            self.era_s = self.now_s
        self.seen_s = self.now_s
        missing = [node for node in watched if self.beats.get(node, -1e9) <= self.now_s]
        news = sorted(
            (epoch, slot, holder) for slot, (epoch, holder) in self.slots.items() if epoch > since
        )
        return Beaten(
            generation=self.generation,
            view=self.view,
            calm_s=self.now_s - self.era_s,
            missing=missing,
            news=[Held(slot, epoch, holder) for epoch, slot, holder in news],
            heard=max([since, *(epoch for epoch, _, _ in news)]),
        )

    def begin(self, generation: int) -> None:
        if self.generation is None or self.of_run != self.run_id:
            self.generation, self.of_run = generation, self.run_id
            self.counter = generation << GENERATION_BITS
            self.era_s = self.seen_s = self.now_s

    def change(
        self, generation: int, changes: Sequence[Change], to: str | None, view: int
    ) -> list[Held]:
        if generation != self.generation or self.of_run != self.run_id:
            raise Away
        self.view = max(self.view, view)
        held = []
        for slot, epoch in changes:
            present = self.slots.get(slot)
            if present is None or present[0] <= epoch:
                self.counter += 1
                self.slots[slot] = (self.counter, to)
                held.append(Held(slot, self.counter, to))
        return held

    def announce(self, view: int, *gone: str) -> None:
        self.view = max(self.view, view)
        for node in gone:
            self.beats.pop(node, None)


class Row:
    """A row of the register."""

    def __init__(self, node: Node, now_s: float) -> None:
        self.node = node
        self.valkey_s = now_s
        self.excused_s = -1e9
        self.witness = True
        self.buried: str | None = None


class ModelledRegister:
    """The register in PostgreSQL, and the logs of actors beside it. `now_s` is its clock."""

    def __init__(self, timing: Timing) -> None:
        self.timing = timing
        self.now_s = 0.0
        self.rows: dict[str, Row] = {}
        self.version = 0
        self.incarnation = 0
        self.generation = 0
        self.epochs: dict[int, int] = {}
        self.logs: dict[int, list[int]] = {}

    def next_generation(self) -> int:
        self.generation += 1
        return self.generation

    def living(self) -> dict[str, Node]:
        return {id_: row.node for id_, row in self.rows.items() if row.buried is None}

    def of_name(self, name: str) -> str | None:
        found = [id_ for id_, node in self.living().items() if node.descriptor.name == name]
        return found[0] if found else None

    def admit(self, descriptor: Descriptor, generation: int) -> str:
        if any(node.descriptor.name == descriptor.name for node in self.living().values()):
            raise Away
        self.incarnation += 1
        self.version += 1
        id_ = node_id(descriptor.name, self.incarnation)
        self.rows[id_] = Row(Node(id=id_, descriptor=descriptor, generation=generation), self.now_s)
        return id_

    def view(self) -> View:
        nodes = {}
        for id_, node in self.living().items():
            row = self.rows[id_]
            renewed_s = self.now_s - max(row.excused_s, row.valkey_s)
            nodes[id_] = Node(
                id=id_,
                descriptor=node.descriptor,
                generation=node.generation,
                leaving=node.leaving,
                renewed_s=renewed_s,
            )
        return View(self.version, nodes, self.incarnation)

    def report(
        self, me: str, generation: int, valkey_age_s: float, *, doubtful: bool, witness: bool
    ) -> Reported:
        row = self.rows[me]
        if row.buried is not None:
            return Reported(row.buried, view=self.version)
        row.witness = witness
        row.valkey_s = max(row.valkey_s, self.now_s - valkey_age_s)
        row.node = msgspec.structs.replace(row.node, generation=generation)
        excused = doubtful and not any(
            self.now_s - other.valkey_s <= self.timing.fresh_s
            for other in self.rows.values()
            if other is not row and other.buried is None and other.witness
        )
        if excused:
            row.excused_s = self.now_s
        return Reported(None, excused, self.version)

    def bury(self, node: str, by: str) -> int | None:
        row = self.rows[node]
        if row.buried is not None or (by and self.rows[by].buried is not None):
            return None
        if self.now_s - max(row.excused_s, row.valkey_s) < self.timing.lease_s:
            return None
        row.buried = f"by {by}"
        self.version += 1
        return self.version

    def leave(self, me: str) -> int:
        self.rows[me].buried = "it has left"
        self.version += 1
        return self.version

    def mark_leaving(self, me: str) -> int:
        row = self.rows[me]
        row.node = msgspec.structs.replace(row.node, leaving=True)
        self.version += 1
        return self.version

    def activate(self, slot: int) -> int:
        self.epochs[slot] = self.epochs.get(slot, 0) + 1
        return self.epochs[slot]

    def append(self, slot: int, epoch: int, seq: int) -> bool:
        """The fence of the store: an event of an older incarnation is refused."""
        log = self.logs.setdefault(slot, [])
        if epoch != self.epochs.get(slot) or seq != len(log) + 1:
            return False
        log.append(epoch)
        return True
