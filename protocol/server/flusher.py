"""Sends what outboxes hold: all that became dirty together, once per scheduling pass.

Whatever was produced for a client meanwhile, replies and broadcasts of many rooms, leaves in one
`send`. A `send` for each frame costs a system call each (2 us and more); waking a task for each
connection costs 10 us on top. Whatever produces much enters it (`with flusher:`), and it sends on
leaving; for what comes from elsewhere it has a task.

What is pushed to a client a second time within one turn leaves with what follows in it: a loop
with a backlog has long turns. And while the loop is busy with clients that get much, what is pushed
to one sooner than a window after its last send waits until then, and takes along what comes
meanwhile: with 500 a second to each of 400 clients, half as many sends, and as much is saved at the
other end. How long that window is says `protocol.server.gathering`. Replies and the states of
matches wait for nothing, and take along what does.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Sequence
from typing import Final

import msgspec
import trio

from protocol.server.gathering import Window
from protocol.server.outbox import IDLE, NOW, SOON, Outbox

WOULD_BLOCK: Final = (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError)
"""What a non-blocking socket, plain or TLS, raises when it takes nothing now."""

_TURN = 256  # outboxes flushed in a row: about 1 ms, so that sends never starve reads
_SENDS = 4  # sends to one client in a turn: a client with a backlog waits its turn like others


class FlusherStatistics(msgspec.Struct, frozen=True):
    """Counts since the start, and what waits now."""

    sends: int
    bytes_sent: int
    would_block: int
    """How often a socket was full and went to a writer of its own."""
    dirty: int
    writers: int


class Flusher:
    """Outboxes call `mark` and `mark_soon`, topics call `broadcast`; `run` is the task.

    Args:
        window: between two sends to a client, where all that waits may wait. Without one nothing
            waits but for the end of its turn.
    """

    def __init__(self, window: Window | None = None) -> None:
        self.window = window or Window(0.0)
        self._dirty: list[Outbox] = []
        self._soon: list[Outbox] = []  # some may have been flushed since they were marked
        self._soon_at = math.inf  # when all of them are due, in trio's time
        self._now = -math.inf  # in the last turn, or the present one
        self._busy_s = 0.0  # in turns, since the window was looked at
        self._sends_seen = 0  # when it was
        self._parking = trio.CancelScope()
        self._held = False
        self._parked: trio.lowlevel.Task | None = None
        self._nursery: trio.Nursery | None = None
        self._sends = 0
        self._bytes = 0
        self._would_block = 0
        self._writers = 0

    def statistics(self) -> FlusherStatistics:
        return FlusherStatistics(
            sends=self._sends,
            bytes_sent=self._bytes,
            would_block=self._would_block,
            dirty=len(self._dirty) + len(self._soon),
            writers=self._writers,
        )

    def mark(self, outbox: Outbox) -> None:
        """Have `outbox` flushed in the next pass. On the trio thread only."""
        self._dirty.append(outbox)
        if self._parked is not None and not self._held:
            self._wake()

    def mark_soon(self, outbox: Outbox) -> None:
        """Have it flushed a window after its last send; if that is over, in the next pass."""
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
        """Push one frame to many, soon, or as the state of a `slot`; see `Outbox`. Never raises.

        Where nothing waits and it may leave at once, it leaves right here: that takes half of what
        it costs in Python to queue a frame, mark the outbox, find it again and join what it holds.
        """
        now = trio.current_time()
        due = math.inf
        if slot is None and outboxes:
            window, first = self.window, outboxes[0]
            since_s = 0.0 if first.waiting is SOON else now - first.sent_at
            window.pushed(since_s, len(outboxes))
            due = now - window.present_s
            if self._held and due > self._now:
                due = self._now  # a second one in this turn
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
        self._now = trio.current_time()

    def __exit__(self, *_: object) -> None:
        began = self._now
        self._held = False
        self._turn()
        now = trio.current_time()
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
        self._now = trio.current_time()
        if self._soon_at <= self._now:
            self._gathered()
        # What the flushing itself marks waits for the next pass, and joins others there.
        batch, self._dirty = self._dirty[:_TURN], self._dirty[_TURN:]
        for outbox in batch:
            self._flush(outbox)

    def _gathered(self) -> None:
        soon, self._soon, self._soon_at = self._soon, [], math.inf
        for outbox in soon:
            if outbox.waiting is SOON:  # and has not been flushed meanwhile
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
            # Joined for good: TLS may have encrypted it, and takes nothing else before it.
            outbox.sent(outbox.take(), 0)
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
        """One send. Returns whether the socket took it all; if not, it has been seen to."""
        data = outbox.take()
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
        """Give an outbox whose socket is full a writer of its own."""
        if self._nursery is None:  # not running: a server that stops, connections and all
            outbox.transport.broken(BrokenPipeError("nobody sends any more"))
            return
        self._would_block += 1
        self._nursery.start_soon(self._write, outbox, name="writer")

    async def _write(self, outbox: Outbox) -> None:
        """The writer of one client whose socket is full: lives until the outbox is empty."""
        self._writers += 1
        try:
            while True:
                await outbox.transport.wait_writable()
                data = outbox.take()
                try:
                    count = outbox.send(data) if data else 0
                except WOULD_BLOCK:
                    count = 0
                self._bytes += count
                outbox.sent(data, count)
                if outbox.idle():
                    return
        except trio.ClosedResourceError:
            return  # the reader saw the end first and has closed the socket
        except OSError as error:
            outbox.transport.broken(error)
        finally:
            self._writers -= 1


def _queue(frame: bytes, outbox: Outbox, slot: str | None) -> None:
    if slot is None:
        outbox.push_soon(frame)
    else:
        outbox.replace(slot, frame)
