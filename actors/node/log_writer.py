"""Writes a log in a thread of its own, so that code that logs never waits for the log's reader.

A pipe that nobody reads, a terminal held with Ctrl-S, or a disk that hangs can block a write for
any time. The event loop would stand still meanwhile, health checks included. So lines wait in a
bounded queue, and lines that find it full are dropped and counted. The oldest lines are kept,
because they say how the trouble began.
"""

from __future__ import annotations

import io
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO


class LogWriter:
    """A stream for a logger that works even if the real stream is full, closed or missing.

    Safe from any thread. `write` neither waits nor raises.

    Arguments:
        stream: the real stream; None: lines are discarded, as for a daemon.
        queue_bytes: how many bytes may wait to be written.
        told: makes the line that says how many lines were dropped. It is written once there is room
            again.

    Attributes:
        dropped: how many lines are lost since the start, because the queue was full or the write
            failed.
    """

    def __init__(
        self, stream: TextIO | None, *, queue_bytes: int, told: Callable[[int], str]
    ) -> None:
        self.dropped = 0
        self._stream = stream
        self._fd = descriptor(stream)
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._queue_bytes = queue_bytes
        self._told = told
        self._queue: deque[bytes] = deque()
        self._waiting_bytes = 0  # the batch that is being written included
        self._untold = 0
        # The lock is held for a few assignments, never during a write.
        self._changed = threading.Condition()
        if stream is not None:
            # A daemon thread, since one that hangs in a write must not keep the process alive.
            threading.Thread(target=self._run, name="log", daemon=True).start()

    def write(self, text: str) -> None:
        """Queue a line, or drop it if the queue is full."""
        if self._stream is None:
            return
        line = text.encode(self._encoding, "backslashreplace")
        with self._changed:
            if self._waiting_bytes + len(line) > self._queue_bytes:
                self.dropped += 1
                self._untold += 1
                self._changed.notify_all()
                return
            self._waiting_bytes += len(line)
            self._queue.append(line)
            self._changed.notify_all()

    def flush(self) -> None:
        """Do nothing. Loggers call it after each line; `drain` waits for the lines."""

    def drain(self, timeout_s: float) -> bool:
        """Wait up to `timeout_s` until all lines are written; returns whether they are."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while self._pending() and (left_s := deadline - time.monotonic()) > 0:
                self._changed.wait(left_s)
            return not self._pending()

    def _pending(self) -> bool:
        return bool(self._waiting_bytes or self._untold)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._queue or self._untold):
                    self._changed.wait()
                lines, untold = list(self._queue), self._untold
                self._queue.clear()
            batch = b"".join(lines)
            if untold:  # the dropped lines came after these
                batch += self._told(untold).encode(self._encoding, "backslashreplace")
            written = self._put(batch)
            with self._changed:
                self._waiting_bytes -= sum(map(len, lines))
                self._untold -= untold
                if not written:
                    self.dropped += len(lines)
                self._changed.notify_all()

    def _put(self, data: bytes) -> bool:
        try:
            if self._fd is None:
                assert self._stream is not None
                self._stream.write(data.decode(self._encoding))
                self._stream.flush()
                return True
            write_all(self._fd, data)
        except (OSError, ValueError):  # closed, or a full disk
            return False
        return True


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`, however long its reader takes; for threads that nobody waits for.

    It bypasses Python's own buffer: if a thread hangs in a write and holds the buffer's lock, the
    interpreter aborts when it exits.

    Raises:
        OSError: the file is closed, or the disk is full.
    """
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # another process has made the shared pipe non-blocking
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()


def descriptor(stream: TextIO | None) -> int | None:
    """Return the file descriptor of a stream; None: it has none."""
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError, io.UnsupportedOperation):
        return None
