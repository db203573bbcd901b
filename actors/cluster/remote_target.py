"""`RemoteTarget`: what a ref leads to when the actor is on another node."""

from __future__ import annotations

from typing import Any, Protocol

import structlog

from actors.cluster.codec import KindCodec
from actors.cluster.errors import MessageTooLarge
from actors.cluster.items import Ask, Item, Notice, Send, Started, Stop, Tell, Unwatch, Watch
from actors.cluster.items import encode_item as encode
from actors.cluster.questions import Question, Questions
from actors.cluster.routes import NO_SLOT, Routes
from actors.cluster.watches import Watches
from actors.cluster.ways import Way
from actors.runtime.errors import MailboxFull, UnhandledMessage
from actors.runtime.future import Future
from actors.runtime.mailbox import Control
from actors.runtime.reasons import Reason
from actors.runtime.reply import Reply
from actors.runtime.system_view import SystemView
from actors.runtime.watching import Watcher

_log = structlog.get_logger("actors.cluster")


class Exchange(Protocol):
    """What all remote targets of a node share."""

    system: SystemView
    routes: Routes
    questions: Questions
    watches: Watches
    message_bytes: int


class RemoteTarget:
    """Sends what is for one actor to the node that it is on.

    It is good for as long as the way there is the right one; then the ref asks for another.
    """

    __slots__ = ("_codec", "_exchange", "_slot", "_way", "key")

    error: BaseException | None = None
    reason: Reason | None = None
    thread = -1
    up = True

    def __init__(self, exchange: Exchange, codec: KindCodec, key: str, slot: int, way: Way) -> None:
        self._exchange = exchange
        self._codec = codec
        self.key = key
        self._slot = slot
        self._way = way

    @property
    def name(self) -> str:
        return f"{self._codec.kind}/{self.key}"

    @property
    def alive(self) -> bool:
        if self._slot == NO_SLOT:
            return self._way.alive
        return self._exchange.routes.leads(self._slot, self._way)

    def actor_or_none(self) -> Any:
        return None

    # --- messages --------------------------------------------------------------------------------

    def tell(self, message: Any) -> None:
        try:
            name, payload = self._encode(message)
        except UnhandledMessage:  # as of one that is here
            system = self._exchange.system
            system.dead_letters.add(system.ref(self._codec.kind, self.key), message, "unhandled")
            return
        self._check_room()
        self._put(Tell(self._codec.kind, self.key, name, payload))

    def control(self, control: Control) -> None:
        name, payload = self._encode(control.message)
        self._put(Notice(self._codec.kind, self.key, name, payload))

    def tell_or_wait(self, message: Any) -> Future[bool] | None:
        name, payload = self._encode(message)
        self._check_room()
        admitted: Future[bool] = Future(self._exchange.system.home)
        number = self._ask_under(admitted, None)
        self._put(Send(self._codec.kind, self.key, name, payload, number))
        return admitted

    def tell_from_thread(self, message: Any) -> None:
        system = self._exchange.system
        system.ref(self._codec.kind, self.key).tell_soon(message)

    def ask(self, message: Any, future: Future[Any]) -> None:
        try:
            name, payload = self._encode(message)
            self._check_room()
        except Exception as error:
            future.settle_quietly(error=error)
            return
        timeout_s = future.timeout_s if isinstance(future, Reply) else float("inf")
        number = self._ask_under(future, type(message))
        self._put(Ask(self._codec.kind, self.key, name, payload, number, timeout_s))

    def _encode(self, message: Any) -> tuple[str, bytes]:
        exchange = self._exchange
        name, payload = self._codec.encode(self.key, message, exchange.system.now())
        if len(payload) > exchange.message_bytes:
            raise MessageTooLarge(self.name, name, len(payload), exchange.message_bytes)
        return name, payload

    def _check_room(self) -> None:
        if self._way.full():
            where = f"node {self._way.node}" if self._way.node else "a node to hold it"
            raise MailboxFull(f"{self.name}: too much waits for {where}")

    def _ask_under(self, future: Future[Any], asked: type | None) -> int:
        question = Question(future, self._codec, self.key, asked, self._way.node)
        return self._exchange.questions.add(question)

    def _put(self, item: Item) -> None:
        self._way.put(self._slot, encode(item))

    # --- life ------------------------------------------------------------------------------------

    def when_started(self) -> Future[bool]:
        started: Future[bool] = Future(self._exchange.system.home)
        self._put(Started(self._codec.kind, self.key, self._ask_under(started, None)))
        return started

    def stop(self, reason: Reason = "stopped") -> Future[bool]:  # noqa: ARG002 -- no other from afar
        ended: Future[bool] = Future(self._exchange.system.home)
        self._put(Stop(self._codec.kind, self.key, self._ask_under(ended, None)))
        return ended

    # --- watching --------------------------------------------------------------------------------

    def add_watcher(self, watcher: Watcher) -> None:
        name = (self._codec.kind, self.key)
        if self._exchange.watches.add(name, watcher, self._way.node):
            self._put(Watch(*name))

    def remove_watcher(self, watcher: Watcher) -> None:
        name = (self._codec.kind, self.key)
        if self._exchange.watches.remove(name, watcher):
            self._put(Unwatch(*name))
