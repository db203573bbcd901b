"""What the rest of a node asks the cluster: who lives, who holds what, and what changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from actors.cluster.rules.slot_table import Held
from actors.cluster.rules.view import View

Changed = Callable[[Sequence[Held], int], object]
"""Called with the slots that this node has just given another holder, and with the version of the
view by which it did so."""

Hold = Callable[[Mapping[tuple[str, str], float]], object]
"""Called with the actors, by kind and key, that no node may start, and for how many seconds."""


class ClusterListener(Protocol):
    """Is told of changes in the cluster. All calls come in the event loop of the node."""

    def node_up(self, node: str) -> None:
        """A node has joined."""

    def node_down(self, node: str) -> None:
        """A node was buried or has left. Nothing of it will ever be heard again."""

    async def give_up(self, slots: frozenset[int], to: str) -> None:
        """Stop the actors of these slots; return when they have stopped.

        Then the slots are handed to the node `to` (empty: this node leaves, and there is no other),
        and `moved` is called. If `to` dies before that, `taken` is called in its place.
        """

    def taken(self, slots: frozenset[int]) -> None:
        """This node holds these slots from now on."""

    def moved(self, slots: frozenset[int]) -> None:
        """The holder of these slots has changed, and it is not this node.

        In rare cases this node held them until now, and `give_up` was not called: Valkey has lost
        its data, and this node could not claim them anew. So actors of these slots that run here
        must be stopped.
        """

    def fenced(self, why: str) -> None:
        """This node is no longer a member: stop its placed actors at once, within this call.

        Other nodes may start them a moment later. The node never comes back; the process must end,
        or join anew under another id.
        """


class Place(Protocol):
    """A node's place in the cluster, and what it knows of the others."""

    @property
    def me(self) -> str:
        """The id of this node."""

    def holder(self, slot: int) -> str | None:
        """Return who holds a slot as far as this node knows; None: nobody."""

    def epoch(self, slot: int) -> int:
        """Return the epoch of the last claim of a slot that this node knows of; 0: of none."""

    def view(self) -> View:
        """Return the living nodes."""

    def current(self) -> bool:
        """Whether this node's lease still holds, by a look at the clock.

        Call it before handling anything that has come from other nodes. It notices if the process
        was frozen for longer than the lease, and calls `fenced` before it returns.
        """

    def listen(self, listener: ClusterListener) -> None:
        """Have a listener told of all changes from now on, and at once of what this node holds."""

    def on_change(self, tell_others: Changed) -> None:
        """Have `tell_others` called with what this node changes, before its own listeners are.

        Other nodes learn it by their next heartbeats, or sooner if someone calls their `told`.
        """

    def on_hold(self, hold: Hold) -> None:
        """Have `hold` called with all actors that are held, now and with each view.

        It is called before this node takes anything over from a node that is not in the view.
        """

    def told(self, held: Sequence[Held], view: int) -> None:
        """Take the changes that another node has made, from that node."""
