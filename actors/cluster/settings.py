"""Settings of a node's membership in its cluster."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from actors.cluster.rules.lease import Timing
from actors.quantities import PositiveSeconds

KeptLabel = Annotated[
    str,
    Meta(
        pattern=r"^(?!any\Z)[A-Za-z0-9_-]{1,60}\Z",
        description='a label of letters and digits, not "any"',
    ),
]


class MembershipSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a node is a member of its cluster. All nodes must have the same `lease_s` and `beats`.

    `lease_s`: a node that was silent for so long is dead, and others take what it held. A node that
    hears no store for 0.7 of it stops its actors. With a shorter lease a death is found sooner, but
    a store that pauses, or a busy machine, ends a node more easily.
    `beats`: heartbeats within a lease. With more, others learn sooner who is dead, or has joined.
    `move_slots_per_s`: how many slots at most are handed to nodes that join.
    `leave_s`: how long a stopping node may take to hand over what it holds. Then it leaves anyway.
    `kept`: kinds of actors, and the label of the nodes that each is kept to. The same on all nodes.
    """

    lease_s: Annotated[float, Meta(ge=1.5)] = 4.0
    beats: Annotated[int, Meta(ge=10)] = 10
    move_slots_per_s: Annotated[int, Meta(ge=1)] = 4000
    leave_s: PositiveSeconds = 10.0
    kept: dict[str, KeptLabel] = {}

    @property
    def timing(self) -> Timing:
        """The times of the cluster."""
        return Timing(self.lease_s, self.beats)
