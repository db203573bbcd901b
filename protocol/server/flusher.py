"""The flusher sends the frames in outboxes: one `send` for each client in a scheduling pass.

All frames for a client that were produced in a pass, replies and broadcasts of many rooms, leave in
one `send`. A `send` for each frame would cost a system call each (2 us and more), and waking a task
for each connection 10 us on top. Code that produces many frames enters the flusher (`with
flusher:`), which sends when that code leaves it. For all other frames the flusher has a task.

Two kinds of frames wait a little, to leave together with later ones. The second push to a client in
one turn waits for the end of the turn, which is long in a loop with a backlog. And while the loop
is busy with clients that get many pushes, a push waits until a window has passed since the last
send to its client. With 500 pushes a second to each of 400 clients that halves the sends, and saves
as much at the clients' end. `protocol.server.gathering` sets the length of the window. Replies and
the states of matches never wait, and take waiting frames along.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import trio

from protocol.server.backlog import Backlog
from protocol.server.gathering import Window
from protocol.server.outbox import IDLE, NOW, SOON, Outbox, push_soon_to_all

WOULD_BLOCK: Final = (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError)
"""The errors of a non-blocking socket, plain or TLS, that takes no bytes now."""

_TURN = 256  # outboxes flushed in a row: about 1 ms, so that sends never starve reads
_SENDS = 4  # sends to one client in a turn, so that a client with a backlog does not delay others


class FlusherStatistics(msgspec.Struct, frozen=True):
    """Counts since the start, and the present queues."""

    sends: int
    bytes_sent: int
    would_block: int
    """How often a socket was full, and its outbox got a writer task of its own."""
    dirty: int
    """Outboxes that wait to be flushed."""
    writers: int
    """Writer tasks."""


class Flusher:
    """Sends for all connections. Outboxes call `mark` and `mark_soon`, topics call `broadcast`.

    `run` is its task.

    Args:
        window: how long a push may wait after the last send to its client; None: a push waits at
            most for the end of its turn.
    """

    def __init__(self, window: Window | None = None) -> None:
        self.window = window or Window(0.0)
        self.backlog = Backlog()
        """The outboxes that have a writer."""
        self._dirty: list[Outbox] = []
        self._soon: list[Outbox] = []  # some may have been flushed since they were marked
        self._soon_at = math.inf  # when all of `_soon` are due, in trio's time
        self._clock: Callable[[], float] = trio.current_time
        self._now = -math.inf  # the time of the present turn, or of the last one
        self._busy_s = 0.0  # seconds in turns since the last look at the window
        self._sends_seen = 0  # `_sends` at the last look at the window
        self._parking = trio.CancelScope()
        self._held = False
        self._parked: trio.lowlevel.Task | None = None
        self._nursery: trio.Nursery | None = None
        self._sends = 0
        self._bytes = 0
        self._would_block = 0

    def statistics(self) -> FlusherStatistics:
        return FlusherStatistics(
            sends=self._sends,
            bytes_sent=self._bytes,
            would_block=self._would_block,
            dirty=len(self._dirty) + len(self._soon),
            writers=len(self.backlog),
        )

    def mark(self, outbox: Outbox) -> None:
        """Flush `outbox` in the next pass. Called on the trio thread only."""
        self._dirty.append(outbox)
        if self._parked is not None and not self._held:
            self._wake()

    def mark_soon(self, outbox: Outbox) -> None:
        """Flush `outbox` a window after its last send, but not before the next pass."""
        due = outbox.sent_at + self.window.present_s
        if due <= self._now:
            outbox.waiting = NOW
            self.mark(outbox)
            return
        self._soon.append(outbox)
        if due < self._soon_at:
            self._soon_at = due
            if not self._held:
                self._parking.deadline = due

    def broadcast(self, frame: bytes, outboxes: Sequence[Outbox], slot: str | None = None) -> None:
        """Push one frame to many outboxes, by `replace` if there is a `slot`, else by `push_soon`.

        Never raises. If an outbox is empty and the frame may leave at once, it is sent right here.
        In Python that takes half the time of queueing the frame, marking the outbox, finding it
        again and joining its frames. If the first outbox is one that gathers, so do nearly all, and
        the frame is queued for all of them.
        """
        now = self._clock()
        due = math.inf
        if slot is None and outboxes:
            window, first = self.window, outboxes[0]
            if first.waiting is SOON:
                window.pushed(0.0, len(outboxes))
                push_soon_to_all(frame, outboxes)
                return
            window.pushed(now - first.sent_at, len(outboxes))
            due = now - window.present_s
            if self._held and due > self._now:
                due = self._now  # a second push in this turn waits
        size = len(frame)
        sends = 0
        for outbox in outboxes[:_TURN]:
            if outbox.waiting is not IDLE or outbox.sent_at >= due:
                _queue(frame, outbox, slot)
                continue
            try:
                count = outbox.send(frame)
            except WOULD_BLOCK:
                count = 0
            except OSError as error:
                outbox.transport.broken(error)
                continue
            outbox.sent_at = now
            sends += 1
            if count < size:
                self._bytes -= size - count
                outbox.keep(frame, count)
                self._wait_for(outbox)
        for outbox in outboxes[_TURN:]:
            _queue(frame, outbox, slot)
        self._sends += sends
        self._bytes += sends * size

    def __enter__(self) -> None:
        self._held = True
        self._now = self._clock()

    def __exit__(self, *_: object) -> None:
        began = self._now
        self._held = False
        self._turn()
        now = self._clock()
        self._busy_s += now - began
        if self.window.due(now):
            self.window.look(now, self._busy_s, self._sends - self._sends_seen)
            self._busy_s, self._sends_seen = 0.0, self._sends
        if self._parked is not None:
            if self._dirty:
                self._wake()
            elif self._soon_at < self._parking.deadline:
                self._parking.deadline = self._soon_at

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Flush until cancelled."""
        # The clock's own function. Trio's calls two others first, three times in each turn.
        self._clock = trio.lowlevel.current_clock().current_time
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                while True:
                    if self._dirty:
                        await trio.lowlevel.checkpoint()
                    else:
                        with trio.CancelScope(deadline=self._soon_at) as self._parking:
                            await self._park()
                    self._turn()
            finally:
                self._nursery = None

    def _turn(self) -> None:
        self._now = self._clock()
        if self._soon_at <= self._now:
            self._gathered()
        # Outboxes that are marked during the flush wait for the next pass.
        batch, self._dirty = self._dirty[:_TURN], self._dirty[_TURN:]
        for outbox in batch:
            self._flush(outbox)

    def _gathered(self) -> None:
        soon, self._soon, self._soon_at = self._soon, [], math.inf
        for outbox in soon:
            if outbox.waiting is SOON:  # else it has been flushed already
                outbox.waiting = NOW
                self._dirty.append(outbox)

    def _wake(self) -> None:
        assert self._parked is not None
        trio.lowlevel.reschedule(self._parked)
        self._parked = None

    async def _park(self) -> None:
        self._parked = trio.lowlevel.current_task()

        def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            self._parked = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _flush(self, outbox: Outbox) -> None:
        try:
            count = outbox.send_at_once()
        except WOULD_BLOCK:
            # The frames stay joined: TLS may have encrypted them, and must get the same bytes.
            outbox.sent(outbox.next_bytes(), 0)
            self._wait_for(outbox)
            return
        except OSError as error:
            outbox.transport.broken(error)
            return
        outbox.sent_at = self._now
        if count:
            self._sends += 1
            self._bytes += count
            if outbox.waiting is NOW:
                self._wait_for(outbox)
            return
        for _ in range(_SENDS):
            if not self._send(outbox):
                return
            if outbox.idle():
                return
        self._dirty.append(outbox)

    def _send(self, outbox: Outbox) -> bool:
        """Send once. Returns whether the socket took it all; if not, a writer takes care of it."""
        data = outbox.next_bytes()
        if not data:
            return True
        try:
            count = outbox.send(data)
        except WOULD_BLOCK:
            count = 0
        except OSError as error:
            outbox.transport.broken(error)
            return False
        self._sends += 1
        self._bytes += count
        if outbox.sent(data, count):
            return True
        self._wait_for(outbox)
        return False

    def _wait_for(self, outbox: Outbox) -> None:
        """Start a writer task for an outbox whose socket is full."""
        if self._nursery is None:  # not running: the server stops, and closes connections
            outbox.transport.broken(BrokenPipeError("nobody sends any more"))
            return
        self._would_block += 1
        self.backlog.add(outbox)
        self._nursery.start_soon(self._write, outbox, name="writer")

    async def _write(self, outbox: Outbox) -> None:
        """Send to one client whose socket is full, until its outbox is empty."""
        try:
            while True:
                await outbox.transport.wait_writable()
                data = outbox.next_bytes()
                try:
                    count = outbox.send(data) if data else 0
                except WOULD_BLOCK:
                    count = 0
                if count:
                    self._bytes += count
                    self.backlog.moved(outbox)
                outbox.sent(data, count)
                if outbox.idle():
                    return
        except trio.ClosedResourceError:
            return  # the reader saw the end first and has closed the socket
        except OSError as error:
            outbox.transport.broken(error)
        finally:
            self.backlog.remove(outbox)


def _queue(frame: bytes, outbox: Outbox, slot: str | None) -> None:
    if slot is None:
        outbox.push_soon(frame)
    else:
        outbox.replace(slot, frame)
