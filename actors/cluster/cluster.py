"""`Cluster`: makes a system a node among others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, cast

import pykka
import structlog

from actors.cluster.bus import Bus
from actors.cluster.codec import KindCodec, Names
from actors.cluster.error_forms import ErrorCodec, ErrorForm
from actors.cluster.errors import NoNode
from actors.cluster.flushes import Flushes
from actors.cluster.held_actors import HeldActors
from actors.cluster.items import (
    ActorEnded,
    Answer,
    Ask,
    Canary,
    EntriesLost,
    Failed,
    Flush,
    Flushed,
    Forwarded,
    Holders,
    Notice,
    Send,
    Started,
    StopActor,
    Tell,
    Unwatch,
    Watch,
    decode_item,
    encode_item,
)
from actors.cluster.joining import Joining
from actors.cluster.place import Place
from actors.cluster.questions import Questions
from actors.cluster.reception import Reception, unknown
from actors.cluster.remote_target import RemoteTarget
from actors.cluster.routes import Routes, Where
from actors.cluster.rules.slot_table import Held
from actors.cluster.vacancies import Vacancies
from actors.cluster.watches import Watches
from actors.cluster.ways import HoldingWay, Way
from actors.runtime.cell import Cell
from actors.runtime.kinds import CHOSEN, Kind
from actors.runtime.reasons import Reason
from actors.runtime.shutdown import stop_together
from actors.runtime.system_view import SystemView
from actors.runtime.timers import Alarm
from actors.runtime.watching import Located
from persistence.settings import BusSettings, RedisSettings

_log = structlog.get_logger("actors.cluster")

HELD_S: Final = 15.0
"""What has waited for so long for a holder of its slot is turned away. What waits for so long for a
flush is sent on, because the flush must have got lost. The time is not shorter, since a node that
is starved of its CPU for seconds answers a flush late, and the order must hold then, too."""
MOST_HELD: Final = 10_000
"""The most items that wait for holders at a node."""


class Cluster:
    """A node's half of the cluster: `ActorSystem(cluster=Cluster(Joining(...), redis))`.

    Arguments:
        place: who is a member, and which node holds what; or a `Joining`, which finds that out when
            the system opens.
        redis: where the streams of the bus are.
        bus: the bounds of the bus.
        errors: how the program's own exceptions cross between nodes. The runtime's cross without
            this.

    Attributes:
        bus: what connects this node with the others.
        questions: the asks of this node that others have yet to answer.
        flushes: the flushes that are under way.
        held_actors: the actors that no node starts for a time.

    Raises ValueError for two errors of one name.
    """

    def __init__(
        self,
        place: Place | Joining,
        redis: RedisSettings,
        bus: BusSettings | None = None,
        *,
        errors: Iterable[ErrorForm] = (),
    ) -> None:
        self.place: Place
        self._joining = place if isinstance(place, Joining) else None
        if not isinstance(place, Joining):
            self.place = place
        self._errors = ErrorCodec(errors)
        bounds = bus or BusSettings()
        self._handlers: dict[type, Callable[[str, Any], None]] = {}
        self.bus = Bus(
            redis,
            bounds,
            buried=self._is_dead,
            current=self._is_member,
            handlers=self._handlers,
            lost=self._lost,
        )
        self.message_bytes = bounds.message_bytes
        self.questions = Questions(self._errors)
        self.fenced_why = ""
        self._kept = {} if self._joining is None else self._joining.descriptor.kept
        self._labels: dict[str, str] = {}
        self._vacant = Vacancies()
        self._codecs: dict[str, KindCodec] = {}
        self._kinds: dict[str, Kind] = {}
        self._in_turn: Callable[[Callable[[], None]], object] = _at_once
        self._gap_callbacks: list[Callable[[str], object]] = []
        self.flushes = Flushes()
        self._beat: Alarm | None = None
        self._closed = False
        self.system: SystemView
        self.routes: Routes
        self.watches: Watches
        self.held_actors: HeldActors
        self._behind: HoldingWay
        self._waiting: HoldingWay
        self._reception: Reception

    # --- what the system asks --------------------------------------------------------------------

    async def open(self, system: SystemView) -> None:
        """Join the cluster, and open the bus.

        Raises trio.TooSlowError if nothing comes through the bus in time, and what `Joining.join`
        raises.
        """
        self.system = system
        if self._joining is not None:
            self.place = await self._joining.join(system)
        me = self.place.me
        self._waiting = HoldingWay(me, MOST_HELD, system.now())
        self._behind = HoldingWay(me, MOST_HELD, system.now())
        self.routes = Routes(self.place, self.bus, self._waiting, self._behind)
        self.watches = Watches(system.ref)
        self.held_actors = HeldActors(system)
        self._reception = Reception(
            system,
            me,
            routes=self.routes,
            codecs=self._codecs,
            errors=self._errors,
            where=self,
            message_bytes=self.message_bytes,
            take_answer=lambda item: self._handlers[type(item)](me, item),
        )
        receive = self._reception.receive
        self._handlers.update(
            {
                **dict.fromkeys((Notice, Ask, Send, StopActor, Started, Watch, Unwatch), receive),
                Tell: self._reception.tell,
                Answer: self._take_answer,
                Failed: self._take_answer,
                ActorEnded: self._has_ended,
                Forwarded: self._take_forwarded,
                Canary: lambda _sender, item: self.bus.canary_arrived(item.at_s),
                EntriesLost: lambda sender, _item: self._lost(sender),
                Flush: lambda _sender, item: self._reception.flush(item),
                Holders: self._take_holders,
                Flushed: lambda _sender, item: self._open_up(self.flushes.done(item.number)),
            }
        )
        self.place.listen(self)
        self.place.on_change(self._tell_of_holders)
        self.place.on_hold(self.held_actors.hold)
        try:
            await self.bus.open(system, me)
        except BaseException:
            await self.leave()
            raise
        self._pulse()

    async def leave(self) -> None:
        """Hand over what this node holds, and leave. From then on placed actors are out of reach.

        A `Place` that was given to the constructor is not left: whoever joined it leaves it. Later
        calls do nothing.
        """
        if self._joining is not None and not self._closed:
            await self._joining.leave()
            self._closed = True
            self.routes.sever()

    async def close(self) -> None:
        """Close the bus. Questions to other nodes, and items that wait here, fail."""
        self._closed = True
        for waiting in (self._waiting, self._behind):
            for held in waiting.older_than(math.inf):
                self._reception.turn_away_late(held)
        if self._beat is not None:
            self._beat.cancel()
        self.questions.lost("this node has left the cluster")

    def register(self, kind: Kind) -> None:
        """Take note of a kind that other nodes reach, or that is reached on others.

        `ActorSystem.register` calls this. Call it directly for a kind whose actors are started by
        `ActorSystem.start`, and not by messages.

        Raises ValueError if something in a message of its handlers cannot cross between nodes, or
        it is to be kept to a label and has no place that the cluster chooses.
        """
        label = self._kept.get(kind.name, kind.label)
        if label and kind.placement not in CHOSEN:
            why = f"its placement is {kind.placement!r}"
            raise ValueError(f"{kind.name} cannot be kept to nodes with a label: {why}")
        names = Names(self.system.ref, self._kinds.__contains__)
        self._codecs[kind.name] = KindCodec(kind, names, self.system.now)
        self._kinds[kind.name] = kind
        if kind.placement in CHOSEN:
            self._labels[kind.name] = label
            self.routes.keep(kind.name, label)
        # Later, because the system does not know the kind yet.
        self.system.home.call_soon(self._reception.take_held, unknown(kind.name))

    def elsewhere(self, kind: str, key: str) -> Located | None:
        """Return what reaches an actor on another node; None: it is, or starts, on this one.

        Raises ActorDeadError if the actor's node is dead or does not know its kind, no node is for
        its kind, or this one is no member any more; ActorFailed if it would start here and is held.
        """
        if kind not in self._kinds:
            return None
        where, way = self.way(kind, key)
        if way is None:
            if self.held_actors:
                self.held_actors.check(kind, key)
            return None
        if way is self._waiting:
            self._check_served(kind, key)
        self._check_known(kind, key, way.node)
        return RemoteTarget(self, self._codecs[kind], key, where, way)

    @property
    def misdirected(self) -> int:
        """How many messages have come to this node while, as it knew, another held their actors."""
        return self._reception.misdirected

    def _check_served(self, kind: str, key: str) -> None:
        """Raise NoNode if no living node, not even one that starts, is for this kind."""
        label = self._labels.get(kind)
        if label is not None and not self.place.view().serves(label):
            raise NoNode(f"{kind}/{key}", label)

    def _check_known(self, kind: str, key: str, node: str) -> None:
        """Raise ActorDeadError if the node is of another version and does not know the kind.

        So the sender fails at once, and does not wait until that node turns the message away.
        """
        there = self.place.view().nodes.get(node)
        known = () if there is None else there.descriptor.kinds
        if known and kind not in known and self._kinds[kind].placement != "node":
            raise pykka.ActorDeadError(f"{kind}/{key}: {node} does not know this kind of actor")

    def way(self, kind: str, key: str) -> tuple[Where, Way | None]:
        """Return what decides where an actor is, and the way to it; None: it is here.

        Raises ActorDeadError as `elsewhere` does.
        """
        if self.fenced_why or self._closed:
            why = self.fenced_why or "it has left"
            raise pykka.ActorDeadError(f"{kind}/{key}: this node is no member any more: {why}")
        where = self.routes.where(self._kinds[kind], key)
        try:
            return where, self.routes.way(where)
        except pykka.ActorDeadError as error:
            raise pykka.ActorDeadError(f"{kind}/{key}: {error}") from None

    def way_of_others(self, kind: str, key: str) -> tuple[Where, Way | None]:
        """`way` for what comes from other nodes."""
        where, way = self.way(kind, key)
        if way is self.routes.behind:
            way = self.routes.way_of_others(where)
        return where, way

    # --- what people and the node ask ------------------------------------------------------------

    def healthy(self) -> bool:
        """Whether messages come through the bus, by a canary each second."""
        return not self.fenced_why and self.bus.healthy()

    def without_nodes(self) -> Mapping[str, Sequence[str]]:
        """Return the labels that no living node has, with the kinds that are kept to each."""
        return self._vacant.labels

    def on_gap(self, callback: Callable[[str], object]) -> None:
        """Have `callback(node)` called when messages between that node and this one were lost."""
        self._gap_callbacks.append(callback)

    def admit_starts(self, admit: Callable[[Any], object]) -> None:
        """Have `admit(message)` called before what another node asks starts an actor here.

        If it raises, the actor is not started, and the error is the answer.
        """
        self._reception.admit = admit

    def settle_in_turn(self, in_turn: Callable[[Callable[[], None]], object]) -> None:
        """Have `in_turn(settle)` called for each answer of another node.

        `settle` settles the future of the answer. `in_turn` calls it at once or later: for example
        when an actor here has handled what the same node has told it before. Without `in_turn`, an
        answer overtakes what still waits in mailboxes.
        """
        self._in_turn = in_turn

    # --- what arrives ----------------------------------------------------------------------------

    def _is_member(self) -> bool:
        return not self.fenced_why and self.place.current()

    def _take_answer(self, sender: str, item: Answer | Failed) -> None:
        settle = partial(self.questions.settle, item)
        if sender == self.place.me:
            settle()
        else:
            self._in_turn(settle)

    def _has_ended(self, _sender: str, item: ActorEnded) -> None:
        self.watches.ended((item.kind, item.key), cast("Reason", item.reason))

    def _take_forwarded(self, _sender: str, item: Forwarded) -> None:
        if not self._is_dead(item.origin):
            self._reception.receive(item.origin, decode_item(item.item), item.epoch, item.hops)

    def _take_holders(self, _sender: str, item: Holders) -> None:
        news = zip(item.slots, item.epochs, strict=False)
        self.place.told([Held(*one, item.holder or None) for one in news], item.view)

    def _tell_of_holders(self, held: Sequence[Held], view: int) -> None:
        """Tell the other nodes, which would send to the old holder until their next heartbeats."""
        slots, epochs, _ = zip(*held, strict=True)
        item = encode_item(Holders(held[0].holder or "", view, slots, epochs))
        for node in self.place.view().nodes:
            link = None if node == self.place.me else self.routes.link(node)
            if link is not None:
                link.carry(-1, item)

    def _lost(self, node: str) -> None:
        """Messages between that node and this one were lost, in the one direction or the other."""
        self.questions.lost("the bus has lost messages", node)
        self._watch_again(node)
        for slots in self.flushes.give_up(node):
            self._open_up(slots)
        for callback in self._gap_callbacks:
            callback(node)

    def _watch_again(self, node: str) -> None:
        """Ask again to watch actors: the first request, or the news that one ended, may be lost."""
        for kind, key in self.watches.on_node(node):
            link = self.routes.link(node)
            if link is not None:
                link.carry(node, encode_item(Watch(kind, key, 0)))

    def _is_dead(self, node: str) -> bool:
        return self.routes.is_dead(node)

    # --- time ------------------------------------------------------------------------------------

    def _pulse(self) -> None:
        """Do what is due every `canary_s`: send a canary, and give up what has waited too long."""
        self._beat = self.system.alarm(self.bus.bounds.canary_s, self._pulse)
        now = self.system.now()
        self._waiting.now_s = self._behind.now_s = now
        if self.fenced_why:
            return
        self.bus.beat()
        self._vacant.look(self.place.view(), self._labels)
        self.questions.sweep()
        for slots in self.flushes.older_than(now - HELD_S):
            self._open_up(slots)
        for held in self._waiting.older_than(now - HELD_S):
            self._reception.turn_away_late(held)

    # --- what changes in the cluster -------------------------------------------------------------

    def node_up(self, node: str) -> None:
        """A node has joined. Nothing is to be done before there is something to send to it."""

    def node_down(self, node: str) -> None:
        """A node is dead: its actors have ended, and what it was asked will not be answered."""
        self.routes.node_down(node)
        self.bus.forget(node)
        self._reception.node_down(node)
        self.questions.lost(f"node {node} is gone", node)
        for slots in self.flushes.give_up(node):
            self._open_up(slots)
        for name in self.watches.on_node(node):
            self.watches.ended(name, "node_down")

    async def give_up(self, slots: frozenset[int], to: str) -> None:
        """Stop the actors of these slots. What is for them waits until another holds the slots."""
        self.routes.hold_back(slots)
        cells = self._cells(slots)
        if cells:
            _log.info("handing_over", slots=len(slots), actors=len(cells), to=to)
            await stop_together(cells, "moved")
            if self.system.durability is not None:
                # The next owner begins a new epoch, which would refuse what is still on its way.
                # Other actors go on, so what they have queued is not waited for.
                await self.system.durability.all_settled(partial(self._is_in, slots))

    def taken(self, slots: frozenset[int]) -> None:
        """This node holds these slots."""
        self._settled(slots)

    def moved(self, slots: frozenset[int]) -> None:
        """Another node holds these slots, or none yet."""
        for cell in self._cells(slots):
            cell.stop("moved")
        mine = {slot for slot in slots if self.place.holder(slot) == self.place.me}
        self.routes.hold_back(mine)  # this node leaves, and no other has taken them yet
        self._settled(slots - mine)

    def fenced(self, why: str) -> None:
        """This node is no longer a member: end its placed actors now, and send nothing more."""
        if self.fenced_why:
            return
        self.fenced_why = why
        _log.error("fenced", why=why)
        self.routes.sever()
        self.bus.silence()
        for kind in self._kinds:
            for ref in self.system.actors(kind):
                cell = self.system.lookup(kind, ref.key)
                if cell is not None:
                    cell.kill("fenced")
        self.questions.lost("this node was cut off from the cluster")

    def _cells(self, slots: frozenset[int]) -> list[Cell]:
        """The actors of these slots that are on this node."""
        found = []
        for kind in self._kinds.values():
            if kind.placement in CHOSEN:
                for ref in self.system.actors(kind.name):
                    cell = self.system.lookup(kind.name, ref.key)
                    if cell is not None and self.routes.where(kind, ref.key) in slots:
                        found.append(cell)
        return found

    def _is_in(self, slots: frozenset[int], kind: str, key: str) -> bool:
        """Whether the slot of an actor is among these."""
        known = self._kinds.get(kind)
        return known is not None and self.routes.where(known, key) in slots

    def _settled(self, slots: frozenset[int]) -> None:
        """These slots have a new holder: send what waits for them there, and what follows, too.

        Items that are under way by the old holder must arrive first: see `flushes`.
        """
        behind: dict[tuple[str, str], list[int]] = {}
        for slot in slots:
            before, holder = self.routes.link_before(slot), self.place.holder(slot)
            if before is not None and holder is not None and before.node != holder:
                behind.setdefault((before.node, holder), []).append(slot)
        for (old, new), some in behind.items():
            number = self.flushes.begin(some, old, new, self.system.now())
            epochs = tuple(map(self.place.epoch, some))
            link = self.routes.link(old)
            assert link is not None  # `link_before` gives only living nodes
            link.carry(old, encode_item(Flush(self.place.me, new, number, tuple(some), epochs)))
            self.routes.line_up(some)
        self._open_up(slots.difference(*behind.values()))

    def _open_up(self, slots: frozenset[int]) -> None:
        """Let what waits for these slots go to their holder."""
        self.routes.look_again(slots)
        for slot in slots:
            self._reception.take_held(slot)


def _at_once(settle: Callable[[], None]) -> None:
    settle()
