"""An outbox: the frames that wait to be sent to one client, a queue bounded in bytes.

Order. Frames leave in the order they were pushed. A frame of a slot (the state of a match) is
conflated: a newer one replaces the older one that is not sent yet, and goes to the **end** of the
queue. It must not take the older one's place. A state names the topic's offset, so a state that
overtakes an event would tell the client of an offset whose event it does not have; a client that
loses its connection there and resumes would silently miss the event. Nor are slots sent after all
other frames, because an old state would then follow the `match.ended` that was pushed after it. A
slot can be delayed, but only while other frames fill the client's connection.

Room. A client can ask for more than fits: for all that it missed in its rooms, or for many pages of
history. Code that sends such answers pushes a frame only if `takes` allows it, and otherwise calls
`when_drained` and waits. So the client gets everything, as fast as it reads. Such answers fill at
most half of the bound; the other half is for live pushes, which cannot wait.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from protocol.codec import Encoding

SEND_BYTES: Final = 131_072
"""The most bytes that are joined for one send. A socket rarely takes more at once, and joined
frames can no longer be conflated."""

IDLE: Final = 0
SOON: Final = 1
NOW: Final = 2
"""The states of an outbox; see `Outbox.waiting`."""

_COMPACT_AT = 64  # the queue is compacted once it has more replaced frames than this


_ROOM = 2
_DRAINED = 8
"""Answers fill the bound divided by _ROOM at most. An outbox has drained when it holds the bound
divided by _DRAINED or less."""


class Transport(Protocol):
    """The part of a connection that an outbox and the flusher use. Only `send` raises."""

    @property
    def send(self) -> Callable[[bytes | memoryview], int]:
        """A function that sends without blocking and returns how many bytes were taken.

        It raises the errors of a non-blocking socket. The outbox gets it once and keeps it.
        """

    @property
    def address(self) -> str | None:
        """The address whose limits the connection counts towards; None: it has no limits."""

    async def wait_writable(self) -> None: ...
    def overflowed(self) -> None:
        """The outbox went over its bound. Called from within `push`."""

    def fell_behind(self, reason: str) -> None:
        """The client reads too slowly."""

    def broken(self, error: OSError) -> None:
        """The socket cannot be sent to any more."""

    def sent_all(self) -> None:
        """The outbox was finished, and the socket has taken its last byte."""


class Marks(Protocol):
    """The part of the flusher that an outbox uses. Neither method raises."""

    def mark(self, outbox: Outbox) -> None:
        """Flush the outbox in the next pass."""

    def mark_soon(self, outbox: Outbox) -> None:
        """Flush the outbox soon; it may wait a moment for more frames."""


class _Gone:
    """The transport of an outbox whose connection has ended."""

    address = None

    def send(self, _: bytes | memoryview) -> int:
        raise BrokenPipeError

    async def wait_writable(self) -> None:
        raise BrokenPipeError

    def overflowed(self) -> None: ...
    def fell_behind(self, reason: str) -> None: ...
    def broken(self, error: OSError) -> None: ...
    def sent_all(self) -> None: ...


class Outbox:
    """One connection's frames. All methods are plain calls on the trio thread.

    Args:
        encoding: the encoding of the connection, which its frames must have.
        limit_bytes: the bound on `queued_bytes`.
        flusher: told when the outbox has something to send after it was empty.
        transport: the connection.
    """

    __slots__ = (
        "_awaited", "_drained_at", "_finished", "_flusher", "_replaced", "_room", "_slots",
        "_tended", "encoding", "frames", "held_bytes", "limit_bytes", "queued_bytes", "send",
        "sent_at", "transport", "unsent", "waiting",
    )  # fmt: skip

    def __init__(
        self,
        encoding: Encoding,
        limit_bytes: int,
        flusher: Marks,
        transport: Transport,
    ) -> None:
        self.encoding = encoding
        self.transport = transport
        self.send = transport.send  # kept, since two look-ups take 4 % of a send after a pause
        self.queued_bytes = 0
        """Bytes that no socket has taken yet."""
        self.unsent: bytes | memoryview = b""
        """The rest of a send that the socket took in part. It is sent first, unchanged."""
        self.held_bytes = 0
        """Bytes of answers that wait outside of the outbox until there is room."""
        self.frames: list[bytes] = []
        """The frames that wait, in order. Those that were replaced are empty."""
        self._slots: dict[str, int] | None = None  # slot -> its frame's index; most have none
        self._replaced = 0
        self.limit_bytes = limit_bytes
        """The bound on `queued_bytes`; -1 once closed, so that a push needs one comparison."""
        self._flusher = flusher
        self.waiting = IDLE
        """IDLE: the outbox is empty. SOON: it is marked, but may wait for more frames. NOW: it is
        marked for the next pass, or a writer waits for the socket."""
        self.sent_at = -math.inf
        """When the flusher last began to send from this outbox, in trio's time."""
        self._finished = False
        self._room = limit_bytes // _ROOM
        self._drained_at = limit_bytes // _DRAINED
        self._awaited: list[Callable[[], None]] = []
        self._tended = False  # finished or awaited, so `send_at_once` is not enough

    @property
    def waiting_bytes(self) -> int:
        """All that waits for the client, here or elsewhere."""
        return self.queued_bytes + self.held_bytes

    @property
    def room_bytes(self) -> int:
        """Bytes of answers that fit now; it can be negative."""
        return self._room - self.queued_bytes

    def takes(self, size: int) -> bool:
        """Whether there is room for an answer of `size` bytes. A drained outbox takes any."""
        queued = self.queued_bytes
        return queued + size <= self._room or queued <= self._drained_at

    def when_drained(self, tell: Callable[[], None]) -> None:
        """Call `tell` once the outbox has drained or the connection has ended; at once if it has.

        `tell` must not raise.
        """
        if self.queued_bytes <= self._drained_at or self.limit_bytes < 0:
            tell()
        else:
            self._awaited.append(tell)
            self._tended = True

    @property
    def closed(self) -> bool:
        """Whether pushed frames are dropped, because no more will be sent."""
        return self.limit_bytes < 0

    def push(self, frame: bytes) -> None:
        """Append one frame. If it goes over the bound, the connection is closed. Never raises."""
        if self._append(frame) and self.waiting is not NOW:
            self.waiting = NOW
            self._flusher.mark(self)

    def push_soon(self, frame: bytes) -> None:
        """Append one frame that need not leave at once, such as a message in a busy room."""
        if self._append(frame) and self.waiting is IDLE:
            self.waiting = SOON
            self._flusher.mark_soon(self)

    def replace(self, slot: str, frame: bytes) -> None:
        """Append one frame, and drop the older one of this `slot` if it is not sent yet."""
        if self._slots is None:
            self._slots = {}
        else:
            self.clear_slot(slot)
        if self.queued_bytes + len(frame) <= self.limit_bytes:
            self._slots[slot] = len(self.frames)
        self.push(frame)

    def clear_slot(self, slot: str) -> None:
        """Drop the unsent frame of this `slot`, if there is one."""
        slots = self._slots
        if slots is None:
            return
        index = slots.pop(slot, None)
        if index is None:
            return
        self.queued_bytes -= len(self.frames[index])
        self.frames[index] = b""  # cheaper than to move the frames after it
        self._replaced += 1
        if self._replaced > _COMPACT_AT and self._replaced * 2 > len(self.frames):
            self._compact()

    def finish(self, last: bytes, *, drop: bool) -> None:
        """Send `last` (a close frame), and no frame after it. Only the first call counts.

        `drop`: drop the frames before it as well, except one that was sent in part.
        """
        if self._finished:
            return
        self._finished = self._tended = True
        if drop:
            self.frames.clear()
            self._slots = None
            self._replaced = 0
            self.queued_bytes = len(self.unsent)
        self.limit_bytes = self.queued_bytes + len(last)
        self.push(last)
        self.limit_bytes = -1

    def abandon(self) -> None:
        """Send nothing more: the socket is gone."""
        self.limit_bytes = -1
        self._finished = self._tended = True
        self.waiting = NOW
        self.frames.clear()
        self._slots = None
        self.unsent = b""
        self.queued_bytes = 0
        self.send = _GONE.send
        self.transport = _GONE  # breaks the cycle, which only the garbage collector would free
        self._tell_drained()

    # --- the flusher's side ---------------------------------------------------------------------

    def send_at_once(self) -> int:
        """Do `take`, a send, `sent` and `idle` in one call, which halves their cost in Python.

        It is for the usual case that the socket takes everything. Returns the bytes that left; 0:
        this is not the usual case, and nothing was done. If `waiting` is still NOW afterwards, the
        socket took only a part. Raises the errors of the transport's `send`; then nothing has
        changed.
        """
        queued = self.queued_bytes
        frames = self.frames
        if not queued or queued > SEND_BYTES or self.unsent or self._tended:
            return 0
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        count = self.send(data)
        frames.clear()
        if self._slots is not None:
            self._slots.clear()
            self._replaced = 0
        if count == queued:
            self.queued_bytes = 0
            self.waiting = IDLE
        else:
            self.waiting = NOW
            self.queued_bytes = queued - count
            self.unsent = memoryview(data)[count:]
        return count

    def keep(self, data: bytes, count: int) -> None:
        """Keep the rest of `data`, of which the socket took `count` bytes; the outbox was empty.

        The rest is sent first, unchanged. Over the bound the connection is closed, as by `push`.
        """
        self.waiting = NOW
        self.queued_bytes = len(data)
        self.sent(data, count)
        if self.queued_bytes > self.limit_bytes:
            self._over()

    def next_bytes(self) -> bytes | memoryview:
        """Take the bytes for the next send: all frames, up to `SEND_BYTES`. Empty: nothing waits.

        The caller must send them, and tell `sent` how many the socket took.
        """
        if self.unsent:
            return self.unsent
        frames = self.frames
        if self.queued_bytes > SEND_BYTES and len(frames) > 1:
            return self._take_some()
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        frames.clear()
        if self._slots is not None:
            self._slots.clear()
            self._replaced = 0
        return data

    def sent(self, data: bytes | memoryview, count: int) -> bool:
        """Note that the socket took `count` bytes of `data`; returns whether it was all."""
        self.queued_bytes -= count
        if count == len(data):
            self.unsent = b""
            return True
        self.unsent = memoryview(data)[count:]
        return False

    def idle(self) -> bool:
        """Whether the outbox is empty. If it is, the next `push` marks it again."""
        if self.queued_bytes:
            if self._awaited and self.queued_bytes <= self._drained_at:
                self._tell_drained()
            return False
        self.frames.clear()
        if self._finished:
            self.transport.sent_all()
        else:
            self.waiting = IDLE
        if self._awaited:  # last, because the callbacks push
            self._tell_drained()
        return True

    def _append(self, frame: bytes) -> bool:
        queued = self.queued_bytes + len(frame)
        if queued > self.limit_bytes:
            self._over()
            return False
        self.queued_bytes = queued
        self.frames.append(frame)
        return True

    def _tell_drained(self) -> None:
        awaited, self._awaited = self._awaited, []
        self._tended = self._finished
        for tell in awaited:
            tell()

    def _take_some(self) -> bytes:
        size = 0
        count = 0
        for waiting in self.frames:
            if count and size + len(waiting) > SEND_BYTES:
                break
            size += len(waiting)
            count += 1
        data = b"".join(self.frames[:count])
        del self.frames[:count]
        if self._slots is not None:
            self._slots = {s: i - count for s, i in self._slots.items() if i >= count}
        return data

    def _compact(self) -> None:
        moved: list[bytes] = []
        places: list[int] = []
        for waiting in self.frames:
            places.append(len(moved))
            if waiting:
                moved.append(waiting)
        self.frames = moved
        if self._slots is not None:
            self._slots = {s: places[i] for s, i in self._slots.items()}
        self._replaced = 0

    def _over(self) -> None:
        if self.limit_bytes >= 0:
            self.transport.overflowed()


def push_soon_to_all(frame: bytes, outboxes: Iterable[Outbox]) -> None:
    """`push_soon` one frame to each of many outboxes, most of which wait for more frames already.

    These take 60 ns each here, where a call of `push_soon` takes 160. While pushes are gathered, a
    delivery is a tenth cheaper by that.
    """
    size = len(frame)
    for outbox in outboxes:
        queued = outbox.queued_bytes + size
        if outbox.waiting is IDLE or queued > outbox.limit_bytes:
            outbox.push_soon(frame)
        else:
            outbox.queued_bytes = queued
            outbox.frames.append(frame)


_GONE = _Gone()
