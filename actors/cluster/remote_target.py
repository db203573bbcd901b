"""`RemoteTarget`: what a ref leads to when the actor is on another node."""

from __future__ import annotations

from typing import Any, Final, Protocol

import pykka

from actors.cluster.codec import KindCodec
from actors.cluster.errors import MessageTooLarge
from actors.cluster.items import Ask, Item, Notice, Send, Started, StopActor, Tell, Unwatch, Watch
from actors.cluster.items import encode_item as encode
from actors.cluster.questions import Question, Questions
from actors.cluster.routes import Routes, Where
from actors.cluster.watches import Watches
from actors.cluster.ways import Way
from actors.runtime.errors import MailboxFull, UnhandledMessage
from actors.runtime.future import Future
from actors.runtime.mailbox import Control, Mailbox, MailboxSpec
from actors.runtime.reasons import Reason
from actors.runtime.ref import ActorRef
from actors.runtime.reply import Reply
from actors.runtime.system_view import SystemView
from actors.runtime.target import Target
from actors.runtime.watching import Watcher

_NO_ROOM: Final = Mailbox(MailboxSpec())
_NO_ROOM.capacity = 0


class Exchange(Protocol):
    """What all remote targets of a node share."""

    system: SystemView
    routes: Routes
    questions: Questions
    watches: Watches
    message_bytes: int


class RemoteTarget:
    """Sends what is for one actor to the node that it is on.

    It is valid as long as the way there is the right one; then the ref asks for another target. To
    refs it looks like an actor of this loop with a full mailbox, so their `tell` and `ask` call it
    directly: that saves a third of the cost of a tell.
    """

    __slots__ = ("_codec", "_epoch", "_exchange", "_way", "_where", "key", "thread")

    claimed = True
    error: BaseException | None = None
    mailbox = _NO_ROOM
    reason: Reason | None = None
    up = True

    def __init__(
        self, exchange: Exchange, codec: KindCodec, key: str, where: Where, way: Way
    ) -> None:
        self.key = key
        self._epoch = exchange.routes.epoch(where)
        self.thread = exchange.system.home.thread
        self._exchange = exchange
        self._codec = codec
        self._where = where
        self._way = way

    @property
    def name(self) -> str:
        return f"{self._codec.kind}/{self.key}"

    @property
    def alive(self) -> bool:
        return self._exchange.routes.leads(self._where, self._way)

    def actor_or_none(self) -> Any:
        return None

    def _ref(self) -> ActorRef:
        """A ref that looks for the way anew.

        The ref that led here does so from its next message on.
        """
        self.thread = -1
        return self._exchange.system.ref(self._codec.kind, self.key)

    # --- messages --------------------------------------------------------------------------------

    def put(self, message: Any) -> None:
        """Send a told message. Raises MailboxFull, MessageTooLarge, TypeError."""
        exchange, way = self._exchange, self._way
        if not exchange.routes.leads(self._where, way):
            self._ref().tell(message)
            return
        codec = self._codec
        try:
            name, payload = codec.encode(self.key, message)
        except UnhandledMessage:  # as for an actor that is here
            exchange.system.dead_letters.add(self._ref(), message, "unhandled")
            return
        if len(payload) > exchange.message_bytes or way.full():
            self._refuse(name, payload)
        item = encode(Tell(codec.kind, self.key, self._epoch, name, payload))
        way.carry(self._where, item, patient=codec.patient)

    tell = put

    def control(self, control: Control) -> None:
        name, payload = self._codec.encode(self.key, control.message)
        if len(payload) > self._exchange.message_bytes:
            self._refuse(name, payload)
        self._put(Notice(self._codec.kind, self.key, self._epoch, name, payload))

    def tell_or_wait(self, message: Any) -> Future[bool] | None:
        name, payload = self._encode(message)
        admitted: Future[bool] = Future(self._exchange.system.home)
        number = self._ask_under(admitted, None)
        self._put(Send(self._codec.kind, self.key, self._epoch, name, payload, number))
        return admitted

    def tell_from_thread(self, message: Any) -> None:
        self._exchange.system.ref(self._codec.kind, self.key).tell_soon(message)

    def ask(self, message: Any, future: Future[Any]) -> None:
        if not self._exchange.routes.leads(self._where, self._way):
            self._ask_anew(message, future)
            return
        try:
            name, payload = self._encode(message)
        except Exception as error:
            future.settle_quietly(error=error)
            return
        timeout_s = future.timeout_s if isinstance(future, Reply) else float("inf")
        number = self._ask_under(future, type(message))
        self._put(Ask(self._codec.kind, self.key, self._epoch, name, payload, number, timeout_s))

    def _ask_anew(self, message: Any, future: Future[Any]) -> None:
        system = self._exchange.system
        try:
            target: Target = system.locate(self._ref(), system.vacant)
        except pykka.ActorDeadError as error:
            future.settle_quietly(error=error)
        else:
            target.ask(message, future)

    def _encode(self, message: Any) -> tuple[str, bytes]:
        name, payload = self._codec.encode(self.key, message)
        if len(payload) > self._exchange.message_bytes or self._way.full():
            self._refuse(name, payload)
        return name, payload

    def _refuse(self, name: str, payload: bytes) -> None:
        if len(payload) > self._exchange.message_bytes:
            raise MessageTooLarge(self.name, name, len(payload), self._exchange.message_bytes)
        where = f"node {self._way.node}" if self._way.node else "a node to hold it"
        raise MailboxFull(f"{self.name}: too much waits for {where}")

    def _ask_under(self, future: Future[Any], asked: type | None) -> int:
        question = Question(future, self._codec, self.key, asked, self._way.node)
        return self._exchange.questions.add(question)

    def _put(self, item: Item) -> None:
        self._way.carry(self._where, encode(item))

    # --- life ------------------------------------------------------------------------------------

    def when_started(self) -> Future[bool]:
        started: Future[bool] = Future(self._exchange.system.home)
        self._put(Started(self._codec.kind, self.key, self._epoch, self._ask_under(started, None)))
        return started

    def stop(self, reason: Reason = "stopped") -> Future[bool]:  # noqa: ARG002 -- no other from afar
        ended: Future[bool] = Future(self._exchange.system.home)
        self._put(StopActor(self._codec.kind, self.key, self._epoch, self._ask_under(ended, None)))
        return ended

    # --- watching --------------------------------------------------------------------------------

    def add_watcher(self, watcher: Watcher) -> None:
        name = (self._codec.kind, self.key)
        if self._exchange.watches.add(name, watcher, self._way.node):
            self._put(Watch(*name, self._epoch))

    def remove_watcher(self, watcher: Watcher) -> None:
        name = (self._codec.kind, self.key)
        if self._exchange.watches.remove(name, watcher):
            self._put(Unwatch(*name, self._epoch))
