"""Store actors: threads that take all that has queued up and do it in one go."""

from __future__ import annotations

import abc
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import pykka
from pykka._envelope import Envelope

from persistence.errors import StoreBusy
from persistence.requests import StoreRequest


class BoundedInbox:
    """A Pykka inbox that refuses store requests beyond `capacity`; all else always fits.

    Pykka makes it before an actor knows its settings, so both attributes can be set later.

    What stops an actor must reach it however full it is, so only `StoreRequest`s are counted.
    """

    def __init__(self, store: str = "store", capacity: int = 4096) -> None:
        self.store = store
        self.capacity = capacity
        self._waiting: deque[Envelope[Any]] = deque()
        self._changed = threading.Condition(threading.Lock())
        self.refused = 0

    def put(self, envelope: Envelope[Any], /) -> None:
        """Queue an envelope. Raises `StoreBusy` if it holds a request and the inbox is full."""
        with self._changed:
            if len(self._waiting) >= self.capacity and isinstance(envelope.message, StoreRequest):
                self.refused += 1
                raise StoreBusy(self.store, f"{self.capacity} calls are waiting for it already")
            self._waiting.append(envelope)
            self._changed.notify()

    def get(self) -> Envelope[Any]:
        with self._changed:
            while not self._waiting:
                self._changed.wait()
            return self._waiting.popleft()

    def empty(self) -> bool:
        return not self._waiting

    def take(self, wanted: Callable[[StoreRequest], bool]) -> list[Envelope[StoreRequest]]:
        """Take requests from the head for as long as `wanted` says so, without waiting."""
        taken: list[Envelope[StoreRequest]] = []
        with self._changed:
            while self._waiting:
                message = self._waiting[0].message
                if not isinstance(message, StoreRequest) or not wanted(message):
                    break
                taken.append(self._waiting.popleft())
        return taken


class BatchingActor(pykka.ThreadingActor):
    """A ThreadingActor that answers many requests with one round trip to its store.

    Every request is one to ask: a store's error goes to the asker and the actor goes on. A request
    that is merely told kills the actor when it fails, as with any Pykka actor.
    A subclass keeps one blocking connection, made in its own thread, and implements `answer`.
    """

    # The process must be able to end though a store hangs in the middle of a call.
    use_daemon_thread = True

    def __init__(self, store: str, *, capacity: int) -> None:
        super().__init__()
        inbox = self.actor_inbox
        assert isinstance(inbox, BoundedInbox)
        inbox.store = store
        inbox.capacity = capacity
        self.inbox = inbox

    @staticmethod
    def _create_actor_inbox() -> BoundedInbox:
        return BoundedInbox()

    @abc.abstractmethod
    def weigh(self, request: StoreRequest) -> int:
        """How much of `batch_weight` a request takes up."""

    @abc.abstractmethod
    def answer(self, requests: Sequence[StoreRequest]) -> Sequence[Any]:
        """Answer each request, in order: with a value, or with an exception to raise at its asker.

        What this itself raises goes to all of them.
        """

    batch_weight = 1024

    def on_receive(self, message: Any) -> Any:
        """Do a request together with those that wait behind it."""
        if not isinstance(message, StoreRequest):
            return super().on_receive(message)
        room = self.batch_weight - self.weigh(message)

        def fits(request: StoreRequest) -> bool:
            nonlocal room
            room -= self.weigh(request)
            return room >= 0

        others = self.inbox.take(fits)
        try:
            answers = self.answer([message, *(envelope.message for envelope in others)])
        except Exception as error:
            for envelope in others:
                _reply(envelope, error)
            raise
        for envelope, answer in zip(others, answers[1:], strict=True):
            _reply(envelope, answer)
        if isinstance(answers[0], Exception):
            raise answers[0]
        return answers[0]


def _reply(envelope: Envelope[StoreRequest], answer: Any) -> None:
    if envelope.reply_to is None:
        return
    try:
        if isinstance(answer, Exception):
            envelope.reply_to.set_exception((type(answer), answer, None))
        else:
            envelope.reply_to.set(answer)
    except queue.Full:
        pass  # Pykka's word for a future that has its result already: its asker has given up.
