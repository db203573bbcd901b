"""How a process is asked to stop, how long that may take, and how it is ended by force."""

from __future__ import annotations

import contextlib
import math
import os
import queue
import signal
import threading
import time
from types import FrameType
from typing import NoReturn

import structlog
import trio

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that stop a process. SIGHUP comes when the terminal is closed; a process under nohup
ignores it."""

LAST_WORDS_S = 1.0
"""How long a process that is ended by force waits for its last line to be written."""

log = structlog.get_logger("actors.node.stopping")


def _heeded() -> list[signal.Signals]:
    """Return the signals that stop this process. SIGINT does even if a shell has had it ignored."""
    nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in SIGNALS if not (nohup and number == signal.SIGHUP)]


class Signals:
    """Handles SIGINT, SIGTERM and SIGHUP while the process starts, before the loop does.

    The first signal is noted, and the next `check` raises; only a second one interrupts at once. An
    exception at an arbitrary place may leave a lock of logging or of a driver behind, or be lost in
    a finalizer. Both were seen, once in about 50 stops during the start.
    """

    def __init__(self) -> None:
        self.noted: list[int] = []
        self.asked_at = math.inf
        """When the process was first asked to stop, by the monotonic clock."""
        self._asked: queue.SimpleQueue[None] = queue.SimpleQueue()  # its put may interrupt itself
        self._starting = True
        for number in _heeded():
            signal.signal(number, self._note)

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has come."""
        if self.noted:
            raise KeyboardInterrupt

    def only_note(self) -> None:
        """Stop interrupting, even at a second signal: the loop is about to take over."""
        self._starting = False

    def over(self) -> None:
        """Ignore signals, since one that comes while Python ends would change the exit code."""
        for number in _heeded():
            signal.signal(number, signal.SIG_IGN)

    def ask(self) -> None:
        """Note that the process is to stop. Its time limit runs from the first call."""
        if self.asked_at == math.inf:
            self.asked_at = time.monotonic()
            self._asked.put(None)

    def wait(self) -> None:
        """Wait until the process is asked to stop; for one thread."""
        self._asked.get()

    def _note(self, number: int, _: FrameType | None) -> None:
        self.noted.append(number)
        self.ask()
        if self._starting and len(self.noted) > 1:
            raise KeyboardInterrupt


def _say(words: bytes) -> None:
    with contextlib.suppress(OSError):
        os.write(2, words)


class Stopping:
    """Handles SIGINT, SIGTERM and SIGHUP: the first drains, the second hurries, the third kills.

    Arguments:
        before: the signals that came before `listen`.
        drain_s: seconds over which connections are closed.
        limit_s: seconds from the first signal until the process is ended by force. The stop of
            embedded servers is part of them, and so is a start that is still going on. Everything
            acknowledged is in the stores by then; a snapshot may be missing, which makes the next
            recovery longer.
        forced_exit: the exit code of a process that is ended by force.

    Attributes:
        asked: set by the first signal.
        hurry: a scope around the waits that a second signal cuts short.
    """

    def __init__(
        self, before: Signals, *, drain_s: float, limit_s: float, forced_exit: int
    ) -> None:
        self.drain_s = drain_s
        self.asked = trio.Event()
        self.hurry = trio.CancelScope()
        self._before = before
        self._limit_s = limit_s
        self._forced_exit = forced_exit
        # A thread, because the loop itself may hold up the stop, or not run yet or any more.
        threading.Thread(target=self._limit, name="stop limit", daemon=True).start()

    @property
    def left_s(self) -> float:
        """Seconds until the process is ended by force."""
        return max(0.0, self._limit_s - max(0.0, time.monotonic() - self._before.asked_at))

    async def listen(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Handle signals until cancelled."""
        with trio.open_signal_receiver(*_heeded()) as signals:
            for number in self._before.noted[:1]:
                self._handle(number)
            task_status.started()
            async for number in signals:
                self._handle(number)

    def ask(self, why: str) -> None:
        """Drain as after a signal, for a reason that the process found itself."""
        if not self.asked.is_set():
            log.error("draining", why=why)
            self._begin()

    def _handle(self, number: int) -> None:
        name = signal.Signals(number).name
        if not self.asked.is_set():
            log.info("draining", on=name, another="hurries")
            self._begin()
        elif not self.hurry.cancel_called:
            log.info("hurrying", on=name, another="ends the process")
            self.hurry.cancel()
        else:
            self._end(f"{name} for the third time")

    def _begin(self) -> None:
        self.asked.set()
        self._before.ask()

    def _limit(self) -> None:
        self._before.wait()
        time.sleep(self.left_s)
        self._end(f"stopping took longer than {self._limit_s:g} s")

    def _end(self, why: str) -> NoReturn:
        # In a thread, because a standard error that nobody reads must not keep the process alive.
        said = f"greenroom: ended by force: {why}\n".encode()
        last_words = threading.Thread(target=_say, args=(said,), daemon=True)
        last_words.start()
        last_words.join(LAST_WORDS_S)
        # No clean-up: it is the clean-up that takes too long. The kernel signals the embedded
        # servers, and they stop in order.
        os._exit(self._forced_exit)
