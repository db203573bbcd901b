"""`Mailbox`: the bounded queue of messages of an actor, and its policy for when it is full."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pykka._envelope import Envelope  # Pykka's own type crosses its inbox seam

from .checks import check_count, check_word
from .errors import MailboxFull
from .future import Future

OnFull = Literal["refuse", "drop_oldest", "drop_newest", "wait"]


@dataclass(frozen=True, slots=True)
class MailboxSpec:
    """How many messages an actor's mailbox holds, and what happens to one more.

    Arguments:
        capacity: how many messages may wait.
        on_full: `refuse` raises MailboxFull at the sender. `drop_oldest` and `drop_newest` drop a
            message, which is counted and becomes a dead letter. `wait` lets `ActorRef.send`, and
            senders in other threads, wait for room; `tell` in the loop cannot wait and raises
            MailboxFull.

    Raises ValueError for another word and for a capacity below 1, TypeError if the capacity is no
    int.
    """

    capacity: int = 1024
    on_full: OnFull = "refuse"

    def __post_init__(self) -> None:
        check_count("capacity", self.capacity, least=1)
        check_word("on_full", self.on_full, OnFull)


class Control(Envelope[Any]):
    """An envelope that a full mailbox takes as well, and that is never dropped.

    It holds an order of the runtime, a Terminated, the message of a timer, or a result that came.
    Its `source`, if it has one, is asked when the message is taken out whether it is still wanted.
    """

    __slots__ = ("source",)

    def __init__(self, message: Any, source: Source | None = None) -> None:
        self.message = message
        self.reply_to = None
        self.source = source


class Source(Protocol):
    """Where a control message comes from: a timer, a watch, or a future that is done."""

    def take(self, control: Control) -> bool:
        """Return whether the message is still wanted. `control.message` may be set here."""


class Mailbox:
    """Messages in the order of their arrival.

    An asked message is in an Envelope. A told message is stored without one, because making an
    envelope costs a quarter of a tell. A mailbox never waits: `put` returns what was dropped or
    raises, and `wait_for_room` queues a message whose future is set once there was room.
    """

    __slots__ = ("capacity", "controls", "dropped", "queue", "refused", "spec", "waiting")

    def __init__(self, spec: MailboxSpec) -> None:
        self.spec = spec
        self.capacity = spec.capacity
        self.queue: deque[Any] = deque()
        self.controls = 0  # how many items of the queue are Controls
        self.dropped = 0
        self.refused = 0
        self.waiting: deque[tuple[Any, Future[bool]]] | None = None

    def __len__(self) -> int:
        return len(self.queue)

    def empty(self) -> bool:
        return not self.queue

    def full(self) -> bool:
        """Return whether there is no room for an ordinary message."""
        return len(self.queue) - self.controls >= self.capacity

    def put(self, item: Any) -> Any | None:
        """Take an ordinary message. Returns the item that was dropped, if any.

        Raises MailboxFull under `refuse` and `wait`.
        """
        queue = self.queue
        if len(queue) >= self.capacity:  # counts controls as well, which keeps this case short
            return self._put_beyond(item)
        queue.append(item)
        return None

    def _put_beyond(self, item: Any) -> Any | None:
        if not self.full():
            self.queue.append(item)
            return None
        policy = self.spec.on_full
        if policy == "drop_newest":
            self.dropped += 1
            return item
        if policy == "drop_oldest":
            self.dropped += 1
            oldest = self._take_oldest()
            self.queue.append(item)
            return oldest
        self.refused += 1
        raise MailboxFull(f"the mailbox holds its {self.capacity} messages")

    def _take_oldest(self) -> Any:
        for index, item in enumerate(self.queue):
            if type(item) is not Control:
                del self.queue[index]
                return item
        raise AssertionError("a full mailbox holds an ordinary message")

    def put_control(self, control: Control, *, first: bool = False) -> None:
        """Take a control message, even if the mailbox is full; with `first`, before all others."""
        self.controls += 1
        if first:
            self.queue.appendleft(control)
        else:
            self.queue.append(control)

    def wait_for_room(self, item: Any, admitted: Future[bool]) -> None:
        """Take `item` when there is room, after those that came earlier; then set the future.

        If the future is done by then, because its sender gave up, the item is not taken.
        """
        if self.waiting is None:
            self.waiting = deque()
        self.waiting.append((item, admitted))
        self.admit()

    def admit(self) -> None:
        """Take the items that wait for room, as far as there is room."""
        waiting = self.waiting
        while waiting and not self.full():
            item, admitted = waiting.popleft()
            if not admitted.done:
                self.queue.append(item)
                admitted.set(True)
        if not waiting:
            self.waiting = None

    def get(self) -> Any:
        """Take out the next item. Raises IndexError if there is none."""
        item = self.queue.popleft()
        if type(item) is Control:
            self.controls -= 1
        if self.waiting is not None:
            self.admit()
        return item

    def close(self) -> list[Any]:
        """Take out all items, including those that wait for room."""
        items = list(self.queue)
        self.queue.clear()
        self.controls = 0
        for item, admitted in self.waiting or ():
            if not admitted.done:
                items.append(item)
                admitted.set(True)
        self.waiting = None
        return items
