"""Actors of stores: threads that answer all requests that have queued up together."""

from __future__ import annotations

import abc
import queue
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import pykka
from pykka._envelope import Envelope  # Pykka's own type crosses its inbox seam

from persistence.errors import RowRefused, StoreError, StoreInboxFull
from persistence.requests import StoreRequest

G = TypeVar("G")
R = TypeVar("R", bound=StoreRequest)


class Capacity(NamedTuple):
    """How many messages an inbox holds, in the form in which the runtime reads an actor's
    `mailbox`.
    """

    capacity: int


class BoundedInbox:
    """A Pykka inbox that refuses store requests when it is full.

    Other messages, such as a stop, fit.

    A runtime may replace it with an inbox of its own, bounded by the actor's `mailbox`.
    """

    def __init__(self) -> None:
        self.bound = Capacity(4096)
        self.refused = 0
        self._queue: queue.SimpleQueue[Envelope[Any]] = queue.SimpleQueue()
        self.get = self._queue.get
        self.get_nowait = self._queue.get_nowait
        self.empty = self._queue.empty

    def put(self, envelope: Envelope[Any], /) -> None:
        """Queue an envelope without waiting. Raises `StoreInboxFull` if a request does not fit."""
        capacity = self.bound.capacity
        if self._queue.qsize() >= capacity and isinstance(envelope.message, StoreRequest):
            self.refused += 1
            raise StoreInboxFull("inbox", f"{capacity} calls are waiting already")
        self._queue.put(envelope)


class BatchingActor(pykka.ThreadingActor):
    """A ThreadingActor that answers many requests with one round trip to its store.

    Requests should be asked, not told: a store's error then goes to the asker, and the actor goes
    on. As with any Pykka actor, a request that is told ends the actor if it fails.

    A subclass keeps one blocking connection, which only its own thread uses, and implements
    `answer`.

    Arguments:
        capacity: how many messages may wait.
    """

    # A daemon, so that the process can end while a store hangs in the middle of a call.
    use_daemon_thread = True

    batch_weight = 1024
    """A batch is full when its requests together weigh this much; see `weigh`."""

    def __init__(self, *, capacity: int) -> None:
        super().__init__()
        self.mailbox = Capacity(capacity)
        if isinstance(self.actor_inbox, BoundedInbox):
            self.actor_inbox.bound = self.mailbox

    @staticmethod
    def _create_actor_inbox() -> BoundedInbox:
        return BoundedInbox()

    def weigh(self, request: StoreRequest) -> int:  # noqa: ARG002 - here all weigh the same
        """Return how much of `batch_weight` a request takes."""
        return 1

    @abc.abstractmethod
    def answer(self, requests: Sequence[StoreRequest]) -> Sequence[Any]:
        """Return an answer for each request, in order: a value, or an exception to raise at its
        asker.

        An exception that this method raises itself goes to all askers.
        """

    def on_receive(self, message: Any) -> Any:
        """Answer a request together with those that wait behind it."""
        if not isinstance(message, StoreRequest):
            return super().on_receive(message)
        others = self._waiting_behind(message)
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

    def _waiting_behind(self, first: StoreRequest) -> list[Envelope[StoreRequest]]:
        """Take requests out of the inbox until they weigh enough, without waiting for any."""
        inbox: Any = self.actor_inbox
        taken: list[Envelope[StoreRequest]] = []
        weight = self.weigh(first)
        while weight < self.batch_weight:
            try:
                envelope = inbox.get_nowait()
            except queue.Empty:
                break
            if not isinstance(envelope.message, StoreRequest):
                # Pykka's loop must see this message, most likely a stop. It goes to the end of the
                # inbox; it does not matter that messages behind it are handled first.
                inbox.put(envelope)
                break
            taken.append(envelope)
            weight += self.weigh(envelope.message)
        return taken


def each_alone(
    work: Callable[[Sequence[R]], Sequence[Any]], requests: Sequence[R]
) -> Sequence[Any]:
    """Do the work for all requests at once, and return the answers.

    If a value of one of them is refused, the work is done for each request alone, so that only that
    one fails. Any other error of the store is the answer to all.
    """
    try:
        return work(requests)
    except RowRefused as error:
        if len(requests) == 1:
            return [error]
        return [each_alone(work, [request])[0] for request in requests]
    except StoreError as error:
        return [error] * len(requests)


def in_groups(
    requests: Sequence[R],
    group_of: Callable[[R], G],
    answer: Callable[[G, Sequence[R]], Sequence[Any]],
) -> list[Any]:
    """Answer the requests of each group together. The answers are in the order of the requests."""
    groups: dict[G, list[int]] = {}
    for place, request in enumerate(requests):
        groups.setdefault(group_of(request), []).append(place)
    answers: list[Any] = [None] * len(requests)
    for group, places in groups.items():
        found = answer(group, [requests[place] for place in places])
        for place, one in zip(places, found, strict=True):
            answers[place] = one
    return answers


def _reply(envelope: Envelope[StoreRequest], answer: Any) -> None:
    if envelope.reply_to is None:
        return
    try:
        if isinstance(answer, Exception):
            envelope.reply_to.set_exception((type(answer), answer, None))
        else:
            envelope.reply_to.set(answer)
    except queue.Full:
        pass  # Pykka raises this for a future that is done: its asker has given up
