"""`FixedPlace`: nodes that are named beforehand, and slots that are split among them for good."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from actors.cluster.place import Changed, ClusterListener, Hold
from actors.cluster.rules.slot_table import Held
from actors.cluster.rules.view import Descriptor, Node, View, name_of_node


class FixedPlace:
    """A cluster without membership: nobody joins, and nobody is buried.

    It is for tests, and for a few processes that start and end together. Dead nodes are not
    replaced, and a process that is started again needs another node id.

    Arguments:
        me: the id of this node, such as `a.1`: a name, a dot and a number.
        nodes: the ids of all nodes. All give them in the same order.
        holders: the ids of those that hold slots; by default all do.
    """

    def __init__(self, me: str, nodes: Sequence[str], holders: Sequence[str] = ()) -> None:
        self.me = me
        self._nodes = list(nodes)
        self._holders = list(holders) or self._nodes
        self._moved: dict[int, str | None] = {}
        self._epochs: dict[int, int] = {}
        self._listeners: list[ClusterListener] = []
        self._dead: set[str] = set()
        self._fenced = False

    def holder(self, slot: int) -> str | None:
        """Return who holds a slot: its number decides, unless it was handed over."""
        holder = self._moved.get(slot, self._holders[slot % len(self._holders)])
        return None if holder in self._dead else holder

    def epoch(self, slot: int) -> int:
        """Return one more than the number of times that the slot got another holder."""
        return self._epochs.get(slot, 0) + 1

    def view(self) -> View:
        """Return the nodes."""
        return View(
            nodes={
                node: Node(id=node, descriptor=Descriptor(name=name_of_node(node)))
                for node in self._nodes
                if node not in self._dead
            },
            newest=1 << 62,
        )

    def current(self) -> bool:
        """Return True, unless it was fenced."""
        return not self._fenced

    def listen(self, listener: ClusterListener) -> None:
        """Have a listener told of the changes that tests make by the methods below."""
        self._listeners.append(listener)

    def on_change(self, tell_others: Changed) -> None:
        """Do nothing: this node changes nothing by itself."""

    def on_hold(self, hold: Hold) -> None:
        """Do nothing: nobody looks after these nodes."""

    def told(self, held: Sequence[Held], view: int) -> None:
        """Do nothing: the other nodes change nothing by themselves either."""

    # --- what only a membership does by itself ---------------------------------------------------

    def bury(self, node: str) -> None:
        """Declare a node dead."""
        self._dead.add(node)
        for listener in self._listeners:
            listener.node_down(node)

    async def give_up(self, slots: Iterable[int], to: str) -> None:
        """Have the actors of these slots stopped, for the other node to take."""
        for listener in self._listeners:
            await listener.give_up(frozenset(slots), to)

    def hand_over(self, slots: Iterable[int], to: str | None) -> None:
        """Give the slots to another node from now on; None: to nobody."""
        changed = frozenset(slots)
        for slot in changed:
            self._epochs[slot] = self._epochs.get(slot, 0) + 1
        self._moved.update(dict.fromkeys(changed, to))
        for listener in self._listeners:
            if to == self.me:
                listener.taken(changed)
            else:
                listener.moved(changed)

    def fence(self, why: str) -> None:
        """Declare that this node is no longer a member."""
        self._fenced = True
        for listener in self._listeners:
            listener.fenced(why)
