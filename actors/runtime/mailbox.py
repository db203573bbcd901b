"""A bounded queue of what an actor has yet to handle, and the policy for when it is full."""

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
    """How much an actor's mailbox holds and what happens to a message beyond that.

    `capacity` counts messages. `on_full`: `refuse` raises MailboxFull at the sender; `drop_oldest`
    and `drop_newest` lose a message, counted; `wait` lets `ActorRef.send` and senders in other
    threads wait for room, while `tell` in the loop, which cannot wait, raises MailboxFull.

    Raises ValueError for another word, or a capacity below 1.
    """

    capacity: int = 1024
    on_full: OnFull = "refuse"

    def __post_init__(self) -> None:
        check_count("capacity", self.capacity, least=1)
        check_word("on_full", self.on_full, OnFull)


class Control(Envelope[Any]):
    """An envelope that passes a full mailbox and is never dropped: stop, watch, timer, result.

    `source`, if any, is asked when the message is taken out whether it is still wanted.
    """

    __slots__ = ("source",)

    def __init__(self, message: Any, source: Source | None = None) -> None:
        self.message = message
        self.reply_to = None
        self.source = source


class Source(Protocol):
    """What put a control message into the mailbox: a timer, or a future that is done."""

    def take(self, control: Control) -> bool:
        """Whether the message is wanted, now that its turn has come; it may be filled in here."""


class Mailbox:
    """Messages in the order of their arrival; an asked one in its Envelope, a told one as it is.

    It decides and never waits: `put` says what got lost or raises, `wait_for_room` queues a sender
    whose future is set once its message is in. (A told message has no envelope because making one
    costs a quarter of a tell.)
    """

    __slots__ = ("capacity", "controls", "dropped", "queue", "refused", "spec", "waiting")

    def __init__(self, spec: MailboxSpec) -> None:
        self.spec = spec
        self.capacity = spec.capacity
        self.queue: deque[Any] = deque()
        self.controls = 0  # how many of the queue are Control
        self.dropped = 0
        self.refused = 0
        self.waiting: deque[tuple[Any, Future[bool]]] | None = None

    def __len__(self) -> int:
        return len(self.queue)

    def empty(self) -> bool:
        return not self.queue

    def full(self) -> bool:
        """Whether an ordinary message finds no room."""
        return len(self.queue) - self.controls >= self.capacity

    def put(self, item: Any) -> Any | None:
        """Take in an ordinary message. Returns the item that was dropped for it, if any.

        Raises MailboxFull under `refuse` and `wait`.
        """
        queue = self.queue
        if len(queue) >= self.capacity:  # controls count here only to keep the common case short
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
        """Take in a control message, past any bound; `first`: before all that waits."""
        self.controls += 1
        if first:
            self.queue.appendleft(control)
        else:
            self.queue.append(control)

    def wait_for_room(self, item: Any, admitted: Future[bool]) -> None:
        """Put `item` in when there is room, after those who came earlier; then set the future.

        A future that is done by then (its sender gave up) forfeits its place.
        """
        if self.waiting is None:
            self.waiting = deque()
        self.waiting.append((item, admitted))
        self.admit()

    def admit(self) -> None:
        """Let in who waits, as far as there is room."""
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
        """Take out everything, those who wait included."""
        items = list(self.queue)
        self.queue.clear()
        self.controls = 0
        for item, admitted in self.waiting or ():
            if not admitted.done:
                items.append(item)
                admitted.set(True)
        self.waiting = None
        return items
