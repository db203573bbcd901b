"""The nodes of a cluster as its stores know them, and what a node asks of the stores.

Valkey has the heartbeats and who holds which slot; see `persistence.redis.nodes`. PostgreSQL is the
register of who is a member; see `persistence.postgres.nodes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from persistence.requests import StoreRequest


class HeldSlot(NamedTuple):
    """A slot, the epoch of its last change, and who holds it; None: nobody."""

    slot: int
    epoch: int
    holder: str | None


class Heard(NamedTuple):
    """The answer to a `Heartbeat`.

    Attributes:
        generation: of Valkey's data; 0: none has begun since a flush, a restart or a failover.
        view: the version of the newest view that was announced.
        calm_ms: how long Valkey has heard heartbeats without a gap, by its own clock.
        left_ms: of each of the watched nodes, how long its last heartbeat still holds; 0: it does
            not.
        news: changes of slots, the oldest first.
        heard: the epoch of the last one of them.
        more: whether there are more of them.
    """

    generation: int
    view: int = 0
    calm_ms: int = 0
    left_ms: Sequence[int] = ()
    news: Sequence[HeldSlot] = ()
    heard: int = 0
    more: bool = False


# --- of Valkey -----------------------------------------------------------------------------------


class Heartbeat(StoreRequest, frozen=True, gc=False):
    """`node` lives for another `lease_ms`; "": nobody does, it is only asked. Reply: a `Heard`.

    `gap_ms`: if there was no heartbeat for so long, the calm begins anew.
    `cluster`: the id of the node's register. `StoresDiffer`, if nodes of another one live here.
    """

    node: str
    lease_ms: int
    gap_ms: int
    since: int
    watched: Sequence[str]
    cluster: str


class BeginGeneration(StoreRequest, frozen=True, gc=False):
    """Begin a generation of Valkey's data, unless one has begun. Reply: None.

    `cluster`: the id of the register. What another cluster has left is deleted.
    """

    generation: int
    cluster: str


class ChangeSlots(StoreRequest, frozen=True, gc=False):
    """Give slots another holder; None: none. Reply: those that were changed, as `HeldSlot`s.

    A slot is changed if its epoch is the one given, or an older one. Nothing is changed if
    `generation` is not the present one. `view`: the version of the view by which it is done; it is
    announced with the change.
    """

    generation: int
    changes: Sequence[tuple[int, int]]
    holder: str | None
    view: int = 0


class Announce(StoreRequest, frozen=True, gc=False):
    """There is a newer view, without these nodes, whose heartbeats are deleted. Reply: None."""

    view: int
    gone: Sequence[str]


# --- of the register -----------------------------------------------------------------------------


class RegisterRow(NamedTuple):
    """A living node. `about` is what it says of itself, `process` where it runs."""

    id: str
    name: str
    generation: int
    leaving: bool
    renewed_s: float
    """How long ago it was excused last, or Valkey had answered it as far as it has reported."""
    about: bytes
    process: str


class HeldActor(NamedTuple):
    """An actor that no node may start for `left_s`, since a node was caught in its code."""

    kind: str
    key: str
    left_s: float


class Register(NamedTuple):
    """The living nodes, the version of this view, and the highest incarnation so far."""

    version: int
    newest: int
    nodes: Sequence[RegisterRow]
    held: Sequence[HeldActor] = ()


class RegisterReport(NamedTuple):
    """The answer to a `ReportNode`.

    Attributes:
        buried: why the node was buried; None: it lives.
        excused: whether it may go on without Valkey for another lease.
        version: of the present view.
    """

    buried: str | None
    excused: bool
    version: int


class ReadCluster(StoreRequest, frozen=True, gc=False):
    """Reply: the id of this register, which no other one has."""


class AdmitNode(StoreRequest, frozen=True, gc=False):
    """Admit a node of this name. Reply: its incarnation; None: a node of this name lives."""

    name: str
    generation: int
    about: bytes
    process: str


class ReportNode(StoreRequest, frozen=True, gc=False):
    """A node lives, and Valkey has answered it so many seconds ago. Reply: a `RegisterReport`.

    `generation`: the one in which it has claimed all that it holds.
    `doubtful`: it asks to be excused. It is unless another node that is a `witness` was answered
    within `fresh_s`.
    `witness`: Valkey has answered it for a whole lease, and answers it now.
    """

    node: str
    generation: int
    valkey_s: float
    doubtful: bool
    fresh_s: float
    witness: bool


class ReadRegister(StoreRequest, frozen=True, gc=False):
    """Reply: the `Register`."""


class BuryNode(StoreRequest, frozen=True, gc=False):
    """Bury a node. Reply: the version of the view without it; None: it was not buried now.

    It is not if it was excused within `lease_s`, or has reported that Valkey had answered it then.
    `by`: who does it; nothing is done if that one was buried itself; "": one that wants to join.
    """

    node: str
    by: str
    why: str
    lease_s: float


class LeaveNode(StoreRequest, frozen=True, gc=False):
    """A node is about to leave, or if `over` it has left. Reply: the version of the view."""

    node: str
    over: bool


class DescribeNode(StoreRequest, frozen=True, gc=False):
    """A node says something else of itself. Reply: the version of the view."""

    node: str
    about: bytes


class NextGeneration(StoreRequest, frozen=True, gc=False):
    """Reply: a number for a generation of Valkey's data, higher than all before it."""
