"""The inbox of an actor in a thread."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

import pykka
from pykka._envelope import Envelope  # Pykka's own type crosses its inbox seam
from pykka.messages import _ActorStop

from .errors import MailboxFull


class ThreadInbox:
    """A bounded queue of envelopes between threads, that refuses when it is full.

    Around a SimpleQueue, which is C: a put costs 0.1 us against 1.5 us for queue.Queue. So that
    the bound may be overrun by as many messages as threads put at the same moment.
    """

    def __init__(self, capacity: int, name: str) -> None:
        self.capacity = capacity
        self.name = name  # of its actor, for errors
        self._queue: queue.SimpleQueue[Envelope[Any]] = queue.SimpleQueue()

    def put(self, envelope: Envelope[Any]) -> None:
        """Add an envelope, never waiting. A stop passes any bound. Raises MailboxFull."""
        if self._queue.qsize() >= self.capacity and not isinstance(envelope.message, _ActorStop):
            raise MailboxFull(f"{self.name}: the inbox holds its {self.capacity} messages")
        self._queue.put(envelope)

    def put_control(self, envelope: Envelope[Any]) -> None:
        """Add what the runtime says to the actor, past any bound."""
        self._queue.put(envelope)

    def get(self) -> Envelope[Any]:
        """Take out the oldest; waits for one."""
        return self._queue.get()

    def get_nowait(self) -> Envelope[Any]:
        """Take out the oldest. Raises queue.Empty."""
        return self._queue.get_nowait()

    def empty(self) -> bool:
        return self._queue.empty()

    def close(self, answer: Callable[[], pykka.ActorDeadError]) -> list[Any]:
        """Answer all that is left with `answer()`; returns the messages nobody waits for."""
        told: list[Any] = []
        while True:
            try:
                envelope = self._queue.get_nowait()
            except queue.Empty:
                return told
            if envelope.reply_to is not None:
                envelope.reply_to.set_exception((None, answer(), None))
            elif not isinstance(envelope.message, _ActorStop):
                told.append(envelope.message)
