"""What waits to be sent to one client: a queue of whole frames, bounded in bytes.

Order. Frames leave in the order they were pushed. A frame of a slot (the state of a match) is
conflated: a newer one replaces the unsent older one and goes to the **end**. It does not take the
older one's place, because a state bears the topic's offset: sent ahead of an event that was pushed
between the two, it would tell the client of an offset whose event it has not got, and a client that
breaks off there and resumes would miss that event in silence. For the same reason slots are not
kept apart and sent last: an older state would follow the `match.ended` that was pushed after it.
What a slot can suffer is delay, and only while other frames alone fill the client's line.

Room. A client can ask for more than fits: for what it missed in all its rooms, for many pages of
history. Whoever answers that pushes a frame only if `takes` says so, and else calls `when_drained`
and waits. So the client gets all of it as fast as it reads. Such answers fill one half of the bound
at most; the other half is for live pushes, which cannot wait.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from protocol.codec import Encoding

SEND_BYTES: Final = 131_072
"""The most that is joined for one send. A socket takes rarely more at once, and what has been
joined can no longer be conflated."""

IDLE: Final = 0
SOON: Final = 1
NOW: Final = 2
"""What an outbox waits for; see `Outbox.waiting`."""

_COMPACT_AT = 64  # replaced frames that may lie in a queue before it is worth closing the gaps


_ROOM = 2
_DRAINED = 8
"""Answers fill the bound divided by _ROOM at most. An outbox has drained when it holds the bound
divided by _DRAINED or less."""


class Transport(Protocol):
    """What an outbox and the flusher need of a connection. None of these raises but `send`."""

    @property
    def send(self) -> Callable[[bytes | memoryview], int]:
        """Non-blocking: bytes taken. Raises what a non-blocking socket raises. Asked for once."""

    async def wait_writable(self) -> None: ...
    def overflowed(self) -> None:
        """The outbox went over its bound. Called from within `push`."""

    def broken(self, error: OSError) -> None:
        """The socket cannot be sent to any more."""

    def sent_all(self) -> None:
        """The outbox was finished, and its last byte has been handed to the socket."""


class Marks(Protocol):
    """What is told of an outbox that has something to send: the flusher. Neither raises."""

    def mark(self, outbox: Outbox) -> None:
        """It is to be flushed in the next pass."""

    def mark_soon(self, outbox: Outbox) -> None:
        """The same, but it may wait a moment for more."""


class _Gone:
    """The transport of an outbox whose connection has ended."""

    def send(self, _: bytes | memoryview) -> int:
        raise BrokenPipeError

    async def wait_writable(self) -> None:
        raise BrokenPipeError

    def overflowed(self) -> None: ...
    def broken(self, error: OSError) -> None: ...
    def sent_all(self) -> None: ...


class Outbox:
    """One connection's frames. Everything here is a plain call on the trio thread.

    Args:
        encoding: of the connection; who pushes chooses the frames by it.
        limit_bytes: the bound on `queued_bytes`.
        flusher: marked with the outbox when it goes from nothing to send to something.
        transport: the connection.
    """

    __slots__ = (
        "_awaited", "_drained_at", "_finished", "_flusher", "_frames", "_limit", "_replaced",
        "_room", "_slots", "_tended", "encoding", "held_bytes", "queued_bytes",
        "send", "sent_at", "transport", "unsent", "waiting",
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
        self.send = transport.send  # to find it each time takes 4 % of a send after a pause
        self.queued_bytes = 0
        """Bytes that no socket has taken yet."""
        self.unsent: bytes | memoryview = b""
        """The rest of a send that the socket took in part. It goes first and as it is."""
        self.held_bytes = 0
        """Bytes of answers that wait elsewhere until there is room."""
        self._frames: list[bytes] = []
        self._slots: dict[str, int] | None = None  # slot -> its frame's index; most have none
        self._replaced = 0
        self._limit = limit_bytes  # -1 once closed: then one comparison in `_append` says both
        self._flusher = flusher
        self.waiting = IDLE
        """IDLE; SOON: the flusher knows of us, and may wait for more; NOW: it does, or a writer
        waits for the socket."""
        self.sent_at = -math.inf
        """The flusher's: when it last began to send from here, in trio's time."""
        self._finished = False
        self._room = limit_bytes // _ROOM
        self._drained_at = limit_bytes // _DRAINED
        self._awaited: list[Callable[[], None]] = []
        self._tended = False  # finished or awaited, so that `idle` has more to do than usual

    @property
    def room_bytes(self) -> int:
        """For how many bytes of answers there is room now; it can be negative."""
        return self._room - self.queued_bytes

    def takes(self, size: int) -> bool:
        """Whether there is room for an answer of so many bytes. A drained outbox takes any."""
        queued = self.queued_bytes
        return queued + size <= self._room or queued <= self._drained_at

    def when_drained(self, tell: Callable[[], None]) -> None:
        """Call `tell` once the outbox has drained or the connection has ended; at once if it has.

        `tell` must not raise.
        """
        if self.queued_bytes <= self._drained_at or self._limit < 0:
            tell()
        else:
            self._awaited.append(tell)
            self._tended = True

    @property
    def closed(self) -> bool:
        """Whether frames are dropped now, as no more will be sent."""
        return self._limit < 0

    def push(self, frame: bytes) -> None:
        """Append one frame. Over the bound the connection is closed; never raises."""
        if self._append(frame) and self.waiting is not NOW:
            self.waiting = NOW
            self._flusher.mark(self)

    def push_soon(self, frame: bytes) -> None:
        """The same for what need not leave at once, such as what is said in a busy room."""
        if self._append(frame) and self.waiting is IDLE:
            self.waiting = SOON
            self._flusher.mark_soon(self)

    def replace(self, slot: str, frame: bytes) -> None:
        """Append one frame, and drop the unsent older one of this `slot` (see the module)."""
        if self._slots is None:
            self._slots = {}
        else:
            self.clear_slot(slot)
        if self.queued_bytes + len(frame) <= self._limit:
            self._slots[slot] = len(self._frames)
        self.push(frame)

    def clear_slot(self, slot: str) -> None:
        """Drop the unsent frame of this `slot`, if there is one."""
        slots = self._slots
        if slots is None:
            return
        index = slots.pop(slot, None)
        if index is None:
            return
        self.queued_bytes -= len(self._frames[index])
        self._frames[index] = b""  # joins to nothing; moving the others would cost more
        self._replaced += 1
        if self._replaced > _COMPACT_AT and self._replaced * 2 > len(self._frames):
            self._compact()

    def finish(self, last: bytes, *, drop: bool) -> None:
        """Send `last` (a close frame) and nothing after it. With `drop`, nothing before it either,
        except what has begun to leave. Only the first call counts.
        """
        if self._finished:
            return
        self._finished = self._tended = True
        if drop:
            self._frames.clear()
            self._slots = None
            self._replaced = 0
            self.queued_bytes = len(self.unsent)
        self._limit = self.queued_bytes + len(last)
        self.push(last)
        self._limit = -1

    def abandon(self) -> None:
        """Send nothing more: the socket is gone."""
        self._limit = -1
        self._finished = self._tended = True
        self.waiting = NOW
        self._frames.clear()
        self._slots = None
        self.unsent = b""
        self.queued_bytes = 0
        self.send = _GONE.send
        self.transport = _GONE  # and so no cycle is left for the garbage collector
        self._tell_drained()

    # --- the flusher's side ---------------------------------------------------------------------

    def send_at_once(self) -> int:
        """What `take`, a send, `sent` and `idle` do together, where a socket takes all, as it
        nearly always does: in one call in place of four, which halves what it costs in Python.

        Returns the bytes that left; 0: nothing was done, as it is not that simple. If `waiting`
        is still NOW then, the rest is to be seen to. Raises what the transport's `send` raises,
        and then nothing has changed.
        """
        queued = self.queued_bytes
        frames = self._frames
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
        """The socket took `count` bytes of `data`, sent while nothing waited: the rest waits now.

        It goes first and as it is. Over the bound the connection is closed, as by `push`.
        """
        self.waiting = NOW
        self.queued_bytes = len(data)
        self.sent(data, count)
        if self.queued_bytes > self._limit:
            self._over()

    def take(self) -> bytes | memoryview:
        """What the next send should carry: everything, up to `SEND_BYTES`. Empty: nothing waits.

        What is taken must be sent, and `sent` be told how much of it was.
        """
        if self.unsent:
            return self.unsent
        frames = self._frames
        if self.queued_bytes > SEND_BYTES and len(frames) > 1:
            return self._take_some()
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        frames.clear()
        if self._slots is not None:
            self._slots.clear()
            self._replaced = 0
        return data

    def sent(self, data: bytes | memoryview, count: int) -> bool:
        """The socket took `count` bytes of `data` from `take`. Returns whether it was all."""
        self.queued_bytes -= count
        if count == len(data):
            self.unsent = b""
            return True
        self.unsent = memoryview(data)[count:]
        return False

    def idle(self) -> bool:
        """Whether nothing waits. Then the next `push` marks the outbox dirty again."""
        if self.queued_bytes:
            if self._awaited and self.queued_bytes <= self._drained_at:
                self._tell_drained()
            return False
        self._frames.clear()
        if self._finished:
            self.transport.sent_all()
        else:
            self.waiting = IDLE
        if self._awaited:  # last, because those who are told push
            self._tell_drained()
        return True

    def _append(self, frame: bytes) -> bool:
        queued = self.queued_bytes + len(frame)
        if queued > self._limit:
            self._over()
            return False
        self.queued_bytes = queued
        self._frames.append(frame)
        return True

    def _tell_drained(self) -> None:
        awaited, self._awaited = self._awaited, []
        self._tended = self._finished
        for tell in awaited:
            tell()

    def _take_some(self) -> bytes:
        size = 0
        count = 0
        for waiting in self._frames:
            if count and size + len(waiting) > SEND_BYTES:
                break
            size += len(waiting)
            count += 1
        data = b"".join(self._frames[:count])
        del self._frames[:count]
        if self._slots is not None:
            self._slots = {s: i - count for s, i in self._slots.items() if i >= count}
        return data

    def _compact(self) -> None:
        moved: list[bytes] = []
        places: list[int] = []
        for waiting in self._frames:
            places.append(len(moved))
            if waiting:
                moved.append(waiting)
        self._frames = moved
        if self._slots is not None:
            self._slots = {s: places[i] for s, i in self._slots.items()}
        self._replaced = 0

    def _over(self) -> None:
        if self._limit >= 0:
            self.transport.overflowed()


_GONE = _Gone()
