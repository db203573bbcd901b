"""What one can set about the membership of a node."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from actors.cluster.rules.lease import Timing
from actors.quantities import PositiveSeconds


class MembershipSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a node is a member of its cluster. All nodes must have the same `lease_s` and `beats`.

    `lease_s`: a node that was not heard for so long is dead, and others take what it held. A node
    that hears no store for 0.7 of it stops its actors. Shorter finds a death sooner; a store that
    pauses, or a busy machine, then ends a node more easily.
    `beats`: heartbeats within a lease. With more, others learn sooner who is dead, or has joined.
    `move_slots_per_s`: so many slots at most are handed to nodes that join.
    `leave_s`: a node that stops has so long to hand over what it holds; then it just leaves.
    """

    lease_s: Annotated[float, Meta(ge=1.5)] = 4.0
    beats: Annotated[int, Meta(ge=10)] = 10
    move_slots_per_s: Annotated[int, Meta(ge=1)] = 4000
    leave_s: PositiveSeconds = 10.0

    @property
    def timing(self) -> Timing:
        """The times of the cluster."""
        return Timing(self.lease_s, self.beats)
