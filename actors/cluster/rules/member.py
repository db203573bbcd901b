"""A member of the cluster: what one node knows, and what follows from it.

It does no I/O and waits for nothing. Its caller sends the heartbeats and reports, passes it the
answers with the times at which they were asked for, and does what it says is to be done. All times
are of one clock of this node, which never goes back and goes on while the process is frozen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from actors.cluster.rules.answers import (
    Beaten,
    Ended,
    Event,
    Moved,
    NodeDown,
    NodeUp,
    Reported,
    Taken,
)
from actors.cluster.rules.lease import Contact, Lease, Timing
from actors.cluster.rules.placement import Placement
from actors.cluster.rules.slot_table import Held, SlotTable, generation_of
from actors.cluster.rules.view import Node, View, name_of_node


class Change(NamedTuple):
    """A slot that is to change its holder, unless its epoch is newer than this one by then."""

    slot: int
    epoch: int


class Member:
    """One node's part in the cluster, from its admission to its end.

    Arguments:
        me: the id of this node.
        timing: the times of the cluster.
        asked_s: when the first heartbeat that Valkey took was sent.
        generation: the generation of Valkey's data in which it was admitted.
        placement: the placement for the nodes that were there before it, if it was computed
            already.

    Attributes:
        view: the living nodes.
        table: which node holds which slot.
        placement: which node should hold it.
        lease: the lease of this node.
        contact: for how long Valkey has answered.
        heard: the number of the last change of slots that this node has heard of.
        giving: slots that are being handed over -> the node that gets them; None: nobody, since
            this node leaves and there is no other.
        stale: slots that this node holds by claims from before this generation of Valkey's data.
        ended: why this node is no longer a member; None: it is one.
    """

    def __init__(
        self,
        me: str,
        timing: Timing,
        asked_s: float,
        generation: int = 0,
        placement: Placement | None = None,
    ) -> None:
        self.me = me
        self.view = View()
        self.table = SlotTable(me)
        self.placement = placement or Placement(name_of_node(me))
        self.lease = Lease(timing, asked_s)
        self.contact = Contact(timing)
        self.heard = 0
        self.giving: dict[int, str | None] = {}
        self.stale: set[int] = set()
        self.ended: str | None = None
        self._timing = timing
        self._missing: Sequence[str] = ()
        self._calm_s = 0.0
        self._viewed_s = -1.0  # when the present view was asked for
        self._newest_view = 0
        self._claimed_in = generation
        self._old_renewed_s = asked_s  # when the last heartbeat before this generation was sent

    # --- what is the case ------------------------------------------------------------------------

    def check(self, now_s: float) -> list[Event]:
        """Look whether the lease is over. Call this first, whatever woke the node."""
        if self.ended is not None:
            return []
        if not self.lease.holds(now_s):
            return self._end("its lease is over")
        if now_s >= self.check_at_s:
            stale, self.stale = self.stale, set()
            self.table.forget(stale)
            return self._slot_events(set(), stale)
        return []

    @property
    def check_at_s(self) -> float:
        """The time before which `check` finds nothing."""
        until_s = self.lease.until_s
        if not self.stale:
            return until_s
        # Slots that were claimed in an older generation are held by a lease that was granted in it.
        # Nodes that wait for the end of that lease may not know of heartbeats in this generation.
        timing = self._timing
        granted_s = max(self._old_renewed_s, self.lease.excused_s)
        return min(until_s, granted_s + timing.lease_s - timing.margin_s)

    def holds(self, slot: int) -> bool:
        """Whether this node holds a slot, and is not handing it over."""
        return slot in self.table.mine and slot not in self.giving

    def witness(self, now_s: float) -> bool:
        """Whether a node that Valkey does not answer is cut off, since it answers this one.

        When Valkey has been away, and comes back, some nodes find it before others. Those others
        are none to be ended: until it has been back for a lease nobody can be buried.
        """
        return self.contact.held(now_s) and not self.lease.doubtful(now_s)

    def settled(self, now_s: float) -> bool:
        """Whether all that was held before this generation of Valkey's data is known again.

        A node that lived before this generation claims anew what it holds, and reports that. If it
        has not done so for a whole lease, it has stopped, unless the register has excused it or
        Valkey still answers it; if so, it has another Valkey.
        """
        contact = self.contact
        if not contact.generation or self._viewed_s < contact.since_s:
            return False
        older = [node for node in self._others() if node.generation < contact.generation]
        if not older:
            return True
        lease_s = self._timing.lease_s
        return (
            contact.held(now_s)
            and self._viewed_s >= contact.since_s + lease_s
            and all(node.renewed_s > lease_s for node in older)
        )

    def wants_view(self, now_s: float) -> bool:
        """Whether the register should be asked for the view."""
        if self._newest_view > self.view.version or self._viewed_s < self.contact.since_s:
            return True
        return self.contact.held(now_s) and not self.settled(now_s)

    # --- what is to be done ----------------------------------------------------------------------

    def watched(self) -> Sequence[str]:
        """Return the nodes about which the next heartbeat asks."""
        return self.view.watched_by(self.me)

    def to_bury(self, now_s: float) -> list[str]:
        """Return the nodes that are to be buried, if the register agrees."""
        lease_s = self._timing.lease_s
        if not self.contact.held(now_s) or self._calm_s < lease_s:
            return []
        return [node for node in self._missing if node in self.view]

    def to_claim(self, now_s: float, most: int) -> list[Change]:
        """Return slots to be claimed now.

        First come those that this node holds by claims from before this generation. Then come those
        that it should hold, if no living node can believe that it holds them.
        """
        if not self.contact.generation or self.ended is not None:
            return []
        table = self.table
        slots = list(self.stale)[:most]
        wanted = self.placement.wished - table.mine
        if wanted and len(slots) < most:
            settled = self.settled(now_s)
            for slot in wanted:
                if self._is_free(slot, settled=settled):
                    slots.append(slot)
                    if len(slots) == most:
                        break
        return [Change(slot, table.epoch(slot)) for slot in slots]

    @property
    def generation(self) -> int:
        """The generation in which this node has claimed all that it holds."""
        if not self.stale:
            self._claimed_in = max(self._claimed_in, self.contact.generation)
        return self._claimed_in

    @property
    def leaving(self) -> bool:
        """Whether this node has said in the register that it gives up all that it holds."""
        me = self.view.nodes.get(self.me)
        return me is not None and me.leaving

    @property
    def has_heirs(self) -> bool:
        """Whether there is another node that could be given what this one holds."""
        return any(not node.leaving and node.descriptor.weight > 0 for node in self._others())

    def to_give(self, most: int) -> dict[str | None, list[Change]]:
        """Return slots to be handed over now: a node -> the slots that it should hold.

        Nothing is handed over while a newer view is known to exist: by the old view, a node that
        leaves would be given back what it gives away.
        """
        if self.ended is not None or not self.contact.generation:
            return {}
        if self._newest_view > self.view.version:
            return {}  # by the newer view they may be right where they are
        found: dict[str | None, list[Change]] = {}
        surplus = self.table.mine - self.placement.wished
        for slot in (surplus - self.stale - self.giving.keys()) if surplus else ():
            to = self.placement.desired(slot)
            if to != self.me and (to is not None or self.leaving):
                found.setdefault(to, []).append(Change(slot, self.table.epoch(slot)))
                most -= 1
                if not most:
                    break
        return found

    # --- what is heard ---------------------------------------------------------------------------

    def beaten(self, asked_s: float, now_s: float, answer: Beaten) -> list[Event]:
        """Take the answer to a heartbeat that was sent at `asked_s`."""
        events = self.check(now_s)
        if self.ended is not None or not answer.generation:
            return events  # until somebody has begun a new generation there is no contact
        if answer.generation != self.contact.generation:
            if not self.stale:
                self._old_renewed_s = self.lease.renewed_s
            self.heard = 0
            self.stale = self.table.older_than(answer.generation)
        self.lease.renew(asked_s, now_s)
        self.contact.answered(now_s, answer.generation)
        self._missing, self._calm_s = answer.missing, answer.calm_s
        self._newest_view = max(self._newest_view, answer.view)
        self.heard = max(self.heard, answer.heard)
        return events + self.learn(answer.news) + self.check(now_s)

    def reported(self, asked_s: float, now_s: float, answer: Reported) -> list[Event]:
        """Take the answer to a report that was sent at `asked_s`.

        One that was on its way as the node left says that it was buried.
        """
        events = self.check(now_s)
        if self.ended is not None:
            return events
        if answer.buried is not None:
            return self._end(f"it was buried: {answer.buried}")
        if answer.excused:
            self.lease.excuse(asked_s, now_s)
        self._newest_view = max(self._newest_view, answer.view)
        return events

    def viewed(self, asked_s: float, view: View) -> list[Event]:
        """Take the view that was asked for at `asked_s`."""
        if self.ended is not None or view.version < self.view.version:
            return []
        before, self.view = self.view, view
        self._viewed_s = asked_s
        if self.me not in view:
            return self._end("it was buried")
        events: list[Event] = [NodeDown(node) for node in before.nodes if node not in view]
        events += [NodeUp(node) for node in view.nodes if node not in before and node != self.me]
        self.placement.update(view.nodes)
        back = {slot for slot, to in self.giving.items() if to is not None and to not in view}
        for slot in back:
            del self.giving[slot]
        if back:
            events.append(Taken(frozenset(back)))
        return events

    def learn(self, news: Iterable[Held]) -> list[Event]:
        """Take changes of slots."""
        if self.ended is not None:
            return []
        taken, moved = set(), set()
        news = list(news)
        for held, _ in self.table.learn(news):
            taken.discard(held.slot)
            moved.discard(held.slot)
            if held.holder == self.me:
                taken.add(held.slot)
            else:
                moved.add(held.slot)
            self.giving.pop(held.slot, None)
        for slot, _, _ in news:
            if slot in self.table.mine and self.table.epoch(slot) < self.contact.base:
                self.stale.add(slot)
            else:
                self.stale.discard(slot)
        return self._slot_events(taken, moved)

    def told(self, news: Iterable[Held], view: int) -> list[Event]:
        """Take changes of slots from the node that has made them, by the view of this version.

        They also come with the next heartbeat. Changes of another generation of Valkey's data are
        left to the heartbeat.
        """
        self._newest_view = max(self._newest_view, view)
        generation = self.contact.generation
        return self.learn([held for held in news if generation_of(held.epoch) == generation])

    def end(self, why: str) -> list[Event]:
        """End the membership, for a reason of the node's own."""
        return self._end(why) if self.ended is None else []

    # --- within ----------------------------------------------------------------------------------

    def _others(self) -> Iterable[Node]:
        return (node for node in self.view.nodes.values() if node.id != self.me)

    def _is_free(self, slot: int, *, settled: bool) -> bool:
        # A node of which Valkey does not know may hold it by a claim of an older generation.
        if self.table.epoch(slot) < self.contact.base:
            return settled
        holder = self.table.holder(slot)
        return holder is None or self.view.buried(holder)

    def _end(self, why: str) -> list[Event]:
        self.ended = why
        self.lease.lapsed = True
        self.table.forget(list(self.table.mine))
        self.giving.clear()
        self.stale.clear()
        return [Ended(why)]

    @staticmethod
    def _slot_events(taken: set[int], moved: set[int]) -> list[Event]:
        events: list[Event] = []
        if moved:
            events.append(Moved(frozenset(moved)))
        if taken:
            events.append(Taken(frozenset(taken)))
        return events
