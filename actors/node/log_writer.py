"""Writes a log in a thread of its own, so that whoever logs never waits for whoever reads it.

A pipe that nobody reads, a terminal held with Ctrl-S, a disk that hangs: each blocks a write for as
long as it likes, and the event loop would stand still with it, health checks included. So lines
queue up to a bound, and what comes beyond it is dropped and counted. What came first is kept: it
tells how the trouble began.
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
    """A stream for a logger, which never learns that the real one is full, closed or missing.

    Safe from any thread. `write` neither waits nor raises.

    Arguments:
        stream: where lines go; None: nowhere, as for a daemon.
        queue_bytes: what may wait to be written.
        told: makes the line that says how many were dropped, once there is room again.

    Attributes:
        dropped: lines that are lost, since the start: for want of room, or as they could not be
            written.
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
        self._waiting_bytes = 0  # that of the batch being written included
        self._untold = 0
        # Held for a few assignments, never while anything is written.
        self._changed = threading.Condition()
        if stream is not None:
            # A daemon: one that hangs in a write must not keep the process from ending.
            threading.Thread(target=self._run, name="log", daemon=True).start()

    def write(self, text: str) -> None:
        """Queue a line, or drop it if too much waits."""
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
        """What loggers call after each line. `drain` is what waits."""

    def drain(self, timeout_s: float) -> bool:
        """Wait until all is written, for so long at most; returns whether it is."""
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
            if untold:  # they would have stood behind these
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

    Past Python's own buffer: its lock, held by a thread that hangs in a write, makes the
    interpreter abort when it exits.

    Raises OSError: closed, or a full disk.
    """
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # whoever shares the pipe has made it non-blocking
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()


def descriptor(stream: TextIO | None) -> int | None:
    """The file behind a stream; None: there is none."""
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError, io.UnsupportedOperation):
        return None
