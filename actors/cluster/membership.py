"""`NodeMembership`: a node's part in its cluster, run against the real stores.

`rules/member.py` decides what is to be done; here it is done, by four tasks: heartbeats to Valkey;
reports to the register; what follows from them (views, burials, claims); and hand-overs, which wait
for actors to stop. With a task for each, none waits for another's store or actors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import structlog
import trio

from actors.cluster.place import Changed, ClusterListener, Hold
from actors.cluster.rules.answers import (
    Ended,
    Event,
    Moved,
    NodeDown,
    NodeUp,
    Taken,
)
from actors.cluster.rules.lease import Lease
from actors.cluster.rules.member import Change, Member
from actors.cluster.rules.slot_table import Held
from actors.cluster.rules.view import View
from actors.cluster.settings import MembershipSettings
from actors.cluster.stores import ClusterStores
from persistence import StoreError

log = structlog.get_logger("actors.cluster")

CLAIMS: Final = 4096
"""The most slots of one claim. More take several claims, one after the other."""
LEAVING: Final = 1024
"""How many slots a leaving node hands over at a time. Actors of the other slots run on
meanwhile."""
LEFT: Final = "it has left"


seconds_since_boot: Final = partial(
    time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
)
"""Returns seconds on a clock that never goes back, and counts while the machine sleeps. It is asked
twice in each pass of the event loop, so it is one call into C."""


class NodeMembership:
    """A node's place in the cluster. `open_membership` makes one.

    Arguments:
        member: the node, which was admitted a moment ago.
        stores: what it asks.
        settings: of the membership.
        clock: seconds of a clock that never goes back.

    Attributes:
        over: set once the node is no member any more.
        beats, missed: heartbeats that were answered, and those that were not.
    """

    def __init__(
        self,
        member: Member,
        stores: ClusterStores,
        settings: MembershipSettings,
        clock: Callable[[], float] = seconds_since_boot,
    ) -> None:
        self.over = trio.Event()
        self.beats = self.missed = 0
        self._member = member
        self._stores = stores
        self._settings = settings
        self._timing = settings.timing
        self._clock = clock
        self._listeners: list[ClusterListener] = []
        self._changed: list[Changed] = []
        self._hold: list[Hold] = []
        self._hands_over_all = False
        self._heard = trio.Event()  # replaced at each heartbeat that was answered
        self._failing: dict[str, str] = {}  # what was tried -> the error that it met

    # --- what the rest of the node asks ----------------------------------------------------------

    @property
    def me(self) -> str:
        """The id of this node."""
        return self._member.me

    @property
    def ended(self) -> str | None:
        """Why this node is no member any more; None: it is one."""
        return self._member.ended

    @property
    def lease(self) -> Lease:
        """This node's lease. Its times are of this node's clock, and only this node changes it."""
        return self._member.lease

    def holder(self, slot: int) -> str | None:
        """Return who holds a slot as far as this node knows; None: nobody."""
        return self._member.table.holder(slot)

    def held(self) -> int:
        """Return how many slots this node holds."""
        return len(self._member.table.mine)

    def epoch(self, slot: int) -> int:
        """Return the epoch of the last claim of a slot that this node knows of; 0: of none."""
        return self._member.table.epoch(slot)

    def view(self) -> View:
        """Return the living nodes."""
        return self._member.view

    def current(self) -> bool:
        """Whether this node's lease still holds, by a look at the clock."""
        member, now_s = self._member, self._clock()
        if member.ended is None and now_s < member.check_at_s:
            return True
        self._tell(member.check(now_s))
        return member.ended is None

    def listen(self, listener: ClusterListener) -> None:
        """Have a listener told of all changes from now on; `taken`, if there is something, now."""
        self._listeners.append(listener)
        if self._member.table.mine:
            listener.taken(frozenset(self._member.table.mine))

    def on_change(self, tell_others: Changed) -> None:
        """See `Place`."""
        self._changed.append(tell_others)

    def on_hold(self, hold: Hold) -> None:
        """See `Place`."""
        self._hold.append(hold)
        hold(self._member.view.held)

    def told(self, held: Sequence[Held], view: int) -> None:
        """See `Place`."""
        if self.current():
            self._tell(self._member.told(held, view))
            self._wake()

    def settled(self) -> bool:
        """Whether this node holds what it should, and nothing else."""
        member = self._member
        return member.table.mine == member.placement.wished and not member.giving

    # --- life ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Be a member until cancelled, or until the membership is over."""
        async with trio.open_nursery() as nursery:
            for task in (self._guard, self._beat_on, self._report_on, self._tend, self._hand_over):
                nursery.start_soon(task)
            await self.over.wait()
            nursery.cancel_scope.cancel()

    async def host(self, pools: Sequence[int] | None = None) -> None:
        """Say that from now on this node may hold slots of these pools; None: of its labels'.

        A node that joins with a descriptor without pools holds no slots before this call. So it can
        join first, and become ready afterwards.
        """
        while self._member.ended is None:
            if await self._try("hosting", partial(self._say_hosting, pools)):
                return
            await trio.sleep(self._timing.beat_s / 4)

    async def retire(self) -> None:
        """Say that this node is about to leave, and hand over all that it holds.

        It stays a member, and still reaches the others. If all of them leave too, nobody can take
        anything over, and this node keeps what it holds. `run` must be running.

        It also keeps what it could not hand over within `leave_s`.
        """
        member = self._member
        with trio.move_on_after(self._settings.leave_s) as hurry:
            while member.ended is None and not member.leaving:
                await self._try("leave", self._say_leaving)
                # By then other nodes that were asked to stop at the same moment have said so.
                await trio.sleep(self._timing.beat_s)
                await self._try("view", self._look)
            self._hands_over_all = True
            self._wake()
            while member.ended is None and member.table.mine and member.has_heirs:
                await self._heard.wait()
        if hurry.cancelled_caught:
            log.warning("not all was handed over", slots=len(member.table.mine))

    async def leave(self) -> None:
        """Retire, stop the actors of the slots that this node still holds, and leave.

        Other nodes, if there are any, claim those slots a moment later.
        """
        if self.over.is_set():
            return
        await self.retire()
        if self._member.ended is None:
            await self._give_up_the_rest()
        if self._member.ended is None:
            self._member.end(LEFT)  # before others know it; listeners here need not hear of it
            with trio.move_on_after(self._timing.beat_s * 5):
                await self._try("leave", self._say_left)
            log.info("left the cluster", node=self.me)
        self.over.set()

    async def _say_hosting(self, pools: Sequence[int] | None) -> None:
        before = self._member.view.nodes[self.me].descriptor
        hosted = None if pools is None else tuple(pools)
        descriptor = msgspec.structs.replace(before, pools=hosted)
        await self._announce(await self._stores.describe(self.me, descriptor))
        await self._look()

    async def _say_leaving(self) -> None:
        await self._announce(await self._stores.leave(self.me, over=False))
        await self._look()

    async def _say_left(self) -> None:
        await self._announce(await self._stores.leave(self.me, over=True), self.me)

    async def _give_up_the_rest(self) -> None:
        mine = frozenset(self._member.table.mine)
        if not mine:
            return
        with trio.move_on_after(self._settings.leave_s):
            async with trio.open_nursery() as nursery:
                for listener in self._listeners:
                    nursery.start_soon(listener.give_up, mine, "")
        for listener in self._listeners:
            listener.moved(mine)

    # --- tasks -----------------------------------------------------------------------------------

    async def _guard(self) -> None:
        """Notice the end of the lease when it comes, even if nothing else happens."""
        while self.current():
            await trio.sleep(max(self._member.check_at_s - self._clock(), 0.001))

    async def _beat_on(self) -> None:
        while self.current():
            next_s = trio.current_time() + self._timing.beat_s
            if not await self._try("heartbeat", self._beat):
                self.missed += 1
            await trio.sleep_until(next_s)

    async def _beat(self) -> None:
        member, more = self._member, True
        while more:
            asked_s = self._clock()
            answer = await self._stores.beat(member.me, member.heard, member.watched())
            self.beats += 1
            self._tell(member.beaten(asked_s, self._clock(), answer))
            if not answer.generation and member.ended is None:
                await self._stores.begin_generation()
            more = (answer.more or not answer.generation) and member.ended is None
        self._wake()

    def _wake(self) -> None:
        heard, self._heard = self._heard, trio.Event()
        heard.set()

    async def _report_on(self) -> None:
        while self.current():
            await self._try("report", self._report)
            await trio.sleep(self._timing.report_s / 2)
            # One in doubt reports at once: that it is no witness any more excuses others.
            if not self._member.lease.doubtful(self._clock()):
                await trio.sleep(self._timing.report_s / 2)

    async def _report(self) -> None:
        member = self._member
        asked_s = self._clock()
        answer = await self._stores.report(
            member.me,
            member.generation,
            asked_s - member.contact.answered_s,
            doubtful=member.lease.doubtful(asked_s),
            witness=member.witness(asked_s),
        )
        self._tell(member.reported(asked_s, self._clock(), answer))

    async def _tend(self) -> None:
        """Do what follows from a heartbeat."""
        while self.current():
            await self._heard.wait()
            if self.current():
                await self._try("view", self._look_if_needed)
                await self._try("burial", self._bury)
                await self._try("claim", self._claim)

    async def _look_if_needed(self) -> None:
        if self._member.wants_view(self._clock()):
            await self._look()

    async def _look(self) -> None:
        asked_s = self._clock()
        view = await self._stores.view()
        for hold in self._hold:  # before anything is taken over from who is not in this view
            hold(view.held)
        self._tell(self._member.viewed(asked_s, view))

    async def _bury(self) -> None:
        member = self._member
        silent = member.to_bury(self._clock())
        for node in member.watched():
            if self._stores.has_ended(node):
                version = await self._stores.bury(node, self.me, "its process has ended", 0.0)
            elif node in silent:
                why = f"it was not heard for {self._timing.lease_s:g} s"
                version = await self._stores.bury(node, self.me, why, self._timing.lease_s)
            else:
                continue
            if version is None:
                log.info("a silent node is not buried", node=node)
                continue
            log.warning("node buried", node=node)
            await self._announce(version, node)
            await self._look()

    async def _claim(self) -> None:
        member = self._member
        while changes := member.to_claim(self._clock(), CLAIMS):
            if not await self._change(changes, member.me):
                return  # others were faster: the next heartbeat tells

    async def _hand_over(self) -> None:
        """Give slots to the nodes that should hold them, no faster than `move_slots_per_s`."""
        while self.current():
            await self._heard.wait()
            if self.current():
                await self._try("hand-over", self._give)

    async def _give(self) -> None:
        member = self._member
        if not member.leaving:
            await self._give_some(round(self._settings.move_slots_per_s * self._timing.beat_s))
        while member.leaving and self._hands_over_all and member.has_heirs:
            if not await self._give_some(LEAVING):
                break
            self._wake()

    async def _give_some(self, most: int) -> bool:
        """Hand over some slots; returns whether there were any."""
        member = self._member
        giving = member.to_give(max(1, most))
        for to, changes in giving.items():
            member.giving.update(dict.fromkeys((slot for slot, _ in changes), to))
        async with trio.open_nursery() as nursery:
            for to, changes in giving.items():
                nursery.start_soon(self._give_to, to, changes)
        # What the store did not answer, now or in an earlier hand-over.
        still: dict[str | None, list[Change]] = {}
        for slot, node in member.giving.items():
            still.setdefault(node, []).append(Change(slot, member.table.epoch(slot)))
        for node, changes in still.items():
            if self.current():
                await self._change(changes, node)
        return bool(giving)

    async def _give_to(self, to: str | None, changes: list[Change]) -> None:
        """Hand over slots to one node, without waiting for those that others get."""
        slots = frozenset(slot for slot, _ in changes)
        async with trio.open_nursery() as nursery:
            for listener in self._listeners:
                nursery.start_soon(listener.give_up, slots, to or "")
        if self.current():
            await self._try("hand-over", partial(self._change, changes, to))

    # --- stores ----------------------------------------------------------------------------------

    async def _change(self, changes: list[Change], to: str | None) -> bool:
        member = self._member
        view = member.view.version
        held = await self._stores.change(member.contact.generation, changes, to, view)
        if self.current():
            for tell_others in self._changed if held else ():
                tell_others(held, view)
            self._tell(member.learn(held))
        return bool(held)

    async def _announce(self, version: int, *gone: str) -> None:
        """Announce a version of the view.

        Nodes that miss the announcement learn it by their reports.
        """
        await self._try("announcement", lambda: self._stores.announce(version, *gone))

    async def _try(self, what: str, work: Callable[[], Any]) -> bool:
        """Do something that needs a store; return whether the store answered.

        It logs when the store stops answering, and when it answers again.
        """
        try:
            await work()
        except StoreError as error:
            if what not in self._failing:
                log.warning("store does not answer", what=what, node=self.me, error=str(error))
            self._failing[what] = str(error)
            return False
        if self._failing.pop(what, None) is not None:
            log.info("store answers again", what=what, node=self.me)
        return True

    # --- telling ---------------------------------------------------------------------------------

    def _tell(self, events: Iterable[Event]) -> None:
        for event in events:
            for listener in self._listeners:
                tell(listener, event)
            match event:
                case Ended(why):
                    log.error("no member any more", node=self.me, why=why)
                    self.over.set()
                case NodeUp(node):
                    log.info("node joined", node=node)
                case NodeDown(node):
                    log.info("node is gone", node=node)


def tell(listener: ClusterListener, event: Event) -> None:
    """Tell a listener of an event."""
    match event:
        case NodeUp(node):
            listener.node_up(node)
        case NodeDown(node):
            listener.node_down(node)
        case Taken(slots):
            listener.taken(slots)
        case Moved(slots):
            listener.moved(slots)
        case Ended(why):
            listener.fenced(why)
