"""What other nodes send to the actors of this one, and the answers that go back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol

import pykka
import structlog

from actors.cluster.codec import KindCodec
from actors.cluster.error_forms import ErrorCodec
from actors.cluster.errors import MessageTooLarge, NotHere
from actors.cluster.items import (
    ActorEnded,
    Addressed,
    Answer,
    Ask,
    Failed,
    Flush,
    Flushed,
    ForMailbox,
    Forwarded,
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
from actors.cluster.routes import Routes, Where
from actors.cluster.watches import FarWatchers
from actors.cluster.ways import HeldItem, NodeWay, Way
from actors.runtime.errors import MailboxFull
from actors.runtime.future import Future
from actors.runtime.system_view import SystemView
from actors.runtime.target import Target
from actors.runtime.watching import Located

_log = structlog.get_logger("actors.cluster")

MOST_HOPS: Final = 3
"""How often an item is sent on, each time by a node that knows a newer claim than the one before. A
slot that moves faster than its messages cannot be found this way."""


def unknown(kind: str) -> str:
    """The name under which items wait until their kind is registered. No node has such an id."""
    return f"kind/{kind}"


class Whereabouts(Protocol):
    """What the reception asks about actors of placed kinds."""

    def way_of_others(self, kind: str, key: str) -> tuple[Where, Way | None]:
        """Return what decides where an actor is, and the way to it; None: it is here.

        Raises ActorDeadError if it is on another node by its key, and that is dead.
        """


class Reception:
    """Delivers items that have arrived.

    Arguments:
        system: the system of this node.
        me: its id.
        routes: the ways to other nodes.
        codecs: how the messages of each kind cross.
        errors: how errors cross.
        where: where actors are.
        message_bytes: the longest answer.
        take_answer: takes an answer to a question that this node has sent to itself.

    Attributes:
        misdirected: how many items came for actors that are not on this node, for the metrics. Some
            do whenever slots move.
        admit: see `Cluster.admit_starts`.
    """

    def __init__(
        self,
        system: SystemView,
        me: str,
        *,
        routes: Routes,
        codecs: Mapping[str, KindCodec],
        errors: ErrorCodec,
        where: Whereabouts,
        message_bytes: int,
        take_answer: Callable[[Answer | Failed | ActorEnded], None],
    ) -> None:
        self.misdirected = 0
        self.admit: Callable[[Any], object] = _admit_all
        self._system = system
        self._me = me
        self._routes = routes
        self._codecs = codecs
        self._errors = errors
        self._where = where
        self._message_bytes = message_bytes
        self._take_answer = take_answer
        self._far: dict[str, FarWatchers] = {}
        self._ways: dict[type, Callable[[str, Any, Located | None], None]] = {
            Tell: self._tell,
            Notice: self._notice,
            Ask: self._ask,
            Send: self._send,
            StopActor: self._stop,
            Started: self._started,
            Watch: self._watch,
            Unwatch: self._unwatch,
        }

    def tell(self, origin: str, item: Tell) -> None:
        """The fast way of `receive`, for messages told to actors that are here."""
        cell = self._system.lookup(item.kind, item.key)
        if cell is None:
            self.receive(origin, item)
            return
        try:
            message = self._codecs[item.kind].decode(item.key, item.type, item.payload)
            cell.tell(message)
        except Exception:
            self._tell(origin, item, cell)

    def receive(self, origin: str, item: Addressed, epoch: int = 0, hops: int = 0) -> None:
        """Deliver an item of another node, or send it on to where the actor is.

        `epoch` is that of the newest claim known to the node that sent it on; 0: nobody did.
        """
        cell = self._system.lookup(item.kind, item.key)
        if cell is None and not self._is_here(origin, item, max(epoch, item.epoch), hops):
            return
        self._ways[type(item)](origin, item, cell)

    def _is_here(self, origin: str, item: Addressed, epoch: int, hops: int) -> bool:
        """Whether the actor would be on this node. If not, the item waits, or is sent on."""
        waiting = self._routes.waiting
        if item.kind not in self._codecs:  # this node has just started, and will register it
            held = HeldItem(origin, epoch, hops, encode_item(item), waiting.now_s)
            waiting.hold(unknown(item.kind), held)
            return False
        try:
            where, way = self._where.way_of_others(item.kind, item.key)
        except pykka.ActorDeadError as error:
            self._turn_away(origin, item, error)
            return False
        if way is None:
            return True
        self.misdirected += 1
        known = self._routes.epoch(where)
        # the sender knows a newer claim, which this node will learn soon
        if way is waiting or known < epoch:
            waiting.hold(where, HeldItem(origin, epoch, hops, encode_item(item), waiting.now_s))
        elif hops >= MOST_HOPS:
            why = f"{item.kind}/{item.key} has moved too often"
            self._turn_away(origin, item, NotHere(why))
        else:
            way.carry(where, encode_item(Forwarded(origin, known, hops + 1, encode_item(item))))
        return False

    def take_held(self, where: Where) -> None:
        """Deliver what has waited for a holder, or send it on, now that there is one."""
        for held in (*self._routes.waiting.take(where), *self._routes.behind.take(where)):
            item = decode_item(held.item)
            if isinstance(item, Flush):
                self.flush(item)
            else:
                self.receive(held.origin, item, held.epoch, held.hops)

    def flush(self, item: Flush) -> None:
        """Send a flush on to the new holder, or answer it if this node is the new holder."""
        waiting = self._routes.waiting
        if item.to == self._me:
            link = self._routes.link(item.origin)
            if link is not None:
                link.carry(item.origin, encode_item(Flushed(item.number)))
            return
        for slot, epoch in zip(item.slots, item.epochs, strict=False):
            # wait behind the items for this slot, which wait here, too
            if self._routes.epoch(slot) < epoch:
                waiting.hold(slot, HeldItem(item.origin, 0, 0, encode_item(item), waiting.now_s))
                return
        link = self._routes.link(item.to)
        if link is not None:
            link.carry(item.to, encode_item(item))

    def turn_away_late(self, held: HeldItem) -> None:
        """Refuse an item that has waited too long."""
        item = decode_item(held.item)
        if isinstance(item, Flush):
            return  # its sender has given it up by now
        name = f"{item.kind}/{item.key}"
        if item.kind in self._codecs:
            self._turn_away(held.origin, item, NotHere(f"{name}: no node has taken it over"))
        else:
            self._turn_away(held.origin, item, NotHere(f"{name}: the node does not know the kind"))

    def _turn_away(self, origin: str, item: Addressed, error: Exception) -> None:
        number = getattr(item, "number", 0)
        if number:
            self._fail(origin, number, error)
        elif isinstance(item, Watch):
            self._reply(origin, ActorEnded(item.kind, item.key, "absent"))
        elif isinstance(item, ForMailbox):
            self._dead_letter(item, "not here")

    def _dead_letter(self, item: ForMailbox, reason: str) -> None:
        ref = self._system.ref(item.kind, item.key)
        self._system.dead_letters.add(ref, item, reason)

    def node_down(self, node: str) -> None:
        """Forget the watchers on a node that is dead."""
        far = self._far.pop(node, None)
        if far is not None:
            far.forget(self._system.lookup)

    # --- each kind of item -----------------------------------------------------------------------

    def _decode(self, item: ForMailbox) -> Any:
        codec = self._codecs[item.kind]
        return codec.decode(item.key, item.type, item.payload)

    def _tell(self, _origin: str, item: Tell, cell: Located | None) -> None:
        try:
            message = self._decode(item)
        except Exception as error:
            self._unreadable(item, error)
            return
        try:
            if cell is not None:
                cell.tell(message)
            elif not isinstance(message, self._codecs[item.kind].hints):
                self._system.ref(item.kind, item.key).tell(message)
        except pykka.ActorDeadError:
            pass  # a dead letter by now
        except MailboxFull:
            ref = self._system.ref(item.kind, item.key)
            self._system.dead_letters.add(ref, message, "mailbox full")

    def _notice(self, _origin: str, item: Notice, _cell: Located | None) -> None:
        try:
            message = self._decode(item)
        except Exception as error:
            self._unreadable(item, error)
            return
        with suppress(pykka.ActorDeadError):  # a dead letter by now
            self._system.ref(item.kind, item.key).notify(message)

    def _unreadable(self, item: ForMailbox, error: Exception) -> None:
        _log.warning("message_unreadable", kind=item.kind, type=item.type, error=str(error))
        self._dead_letter(item, "unreadable")

    def _ask(self, origin: str, item: Ask, cell: Located | None) -> None:
        try:
            message = self._decode(item)
            if cell is None:
                self.admit(message)
        except Exception as error:
            self._fail(origin, item.number, error)
            return
        ref = self._system.ref(item.kind, item.key)
        reply = ref.ask(message, timeout=max(0.0, item.timeout_s))
        if reply.done:
            self._answer(origin, item, reply)
        else:
            # The item is not kept until then, because its payload may be large.
            asked = Ask(item.kind, item.key, 0, item.type, b"", item.number, 0.0)
            reply.when_done(partial(self._answer, origin, asked))

    def _locate(self, item: Addressed) -> Target:
        return self._system.locate(self._system.ref(item.kind, item.key), self._system.vacant)

    def _send(self, origin: str, item: Send, _cell: Located | None) -> None:
        try:
            target = self._locate(item)
            admitted = target.tell_or_wait(self._decode(item))
        except Exception as error:
            self._fail(origin, item.number, error)
            return
        if admitted is None:
            self._plain(origin, item.number, True)
        else:
            admitted.when_done(partial(self._settled, origin, item.number))

    def _stop(self, origin: str, item: StopActor, _cell: Located | None) -> None:
        stopped: Future[bool] = self._system.ref(item.kind, item.key).stop()
        stopped.when_done(partial(self._settled, origin, item.number))

    def _started(self, origin: str, item: Started, _cell: Located | None) -> None:
        try:
            target = self._locate(item)
        except Exception as error:
            self._fail(origin, item.number, error)
            return
        target.when_started().when_done(partial(self._settled, origin, item.number))

    def _watch(self, origin: str, item: Watch, cell: Located | None) -> None:
        if cell is None:
            self._reply(origin, ActorEnded(item.kind, item.key, "absent"))
            return
        far = self._far.get(origin)
        if far is None:
            link = self._routes.link(origin)
            if link is None:
                return
            far = self._far[origin] = FarWatchers(link)
        cell.add_watcher(far)
        assert far.watching is not None
        far.watching.add(self._system.ref(item.kind, item.key))

    def _unwatch(self, origin: str, item: Unwatch, cell: Located | None) -> None:
        far = self._far.get(origin)
        if far is not None and cell is not None and far.watching is not None:
            cell.remove_watcher(far)
            far.watching.discard(self._system.ref(item.kind, item.key))

    # --- the way back ----------------------------------------------------------------------------

    def _answer(self, origin: str, item: Ask, reply: Future[Any]) -> None:
        error = reply.exception()
        if error is not None:
            self._fail(origin, item.number, error)
            return
        try:
            name, payload = self._codecs[item.kind].encode_answer(item.type, reply.result())
            if len(payload) > self._message_bytes:
                actor, what = f"{item.kind}/{item.key}", f"the answer to {item.type}"
                raise MessageTooLarge(actor, what, len(payload), self._message_bytes)
        except Exception as raised:
            _log.error("answer_cannot_cross", kind=item.kind, key=item.key, error=str(raised))
            self._fail(origin, item.number, raised)
            return
        self._reply(origin, Answer(item.number, name, payload))

    def _settled(self, origin: str, number: int, done: Future[bool]) -> None:
        error = done.exception()
        if error is not None:
            self._fail(origin, number, error)
        else:
            self._plain(origin, number, done.result())

    def _plain(self, origin: str, number: int, answer: bool) -> None:
        self._reply(origin, Answer(number, "", b"\xc3" if answer else b"\xc2"))

    def _fail(self, origin: str, number: int, error: BaseException) -> None:
        self._reply(origin, Failed(number, *self._errors.encode(error)))

    def _reply(self, origin: str, item: Answer | Failed | ActorEnded) -> None:
        if origin == self._me:
            # The question went to another node and came back, since the actor has moved here. Over
            # the bus the answer would come behind what the actor does next.
            self._take_answer(item)
            return
        link: NodeWay | None = self._routes.link(origin)
        if link is not None:
            link.carry(-1, encode_item(item))


def _admit_all(_message: Any) -> None:
    pass
