"""Code that holds up the event loop: found, named, and where it asked for it, interrupted."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from time import perf_counter
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Final

import structlog

from .errors import HandlerHung

if TYPE_CHECKING:
    from .system import ActorSystem

_log = structlog.get_logger("actors")

_LOOK_EVERY_S: Final = 0.02
"""How late an interruption may come. Waking a thread 50 times a second costs 0.1 % of a core."""
_RETIRE_AFTER: Final = 100
"""Looks without anything guarded after which the helper thread ends; the next guard starts one."""


class interruptible:  # noqa: N801 -- a context manager, named like trio's move_on_after
    """Guards synchronous code that must not hang: `with interruptible(0.25): game.tick()`.

    Raises HandlerHung inside the block if that runs longer than `limit_s` seconds. What the block
    worked on is then in an unknown state.

    A helper thread sends the main thread a signal, and its Python handler raises only while the
    guard is armed, so nothing outside the block can be hit, trio's internals least of all. Blocks
    nest; each has its own limit. A single long call into C is interrupted when it returns. Off the
    main thread, and where there are no signals to threads (Windows), nothing is interrupted.

    Entering and leaving costs 1 us.
    """

    __slots__ = ("_limit_s", "deadline", "outer")

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self.deadline = 0.0
        self.outer: interruptible | None = None

    def __enter__(self) -> None:
        if threading.get_ident() == _guard.main_thread:
            self.deadline = perf_counter() + self._limit_s
            self.outer = _guard.armed
            try:
                _guard.arm(self)
            except BaseException:
                _guard.armed = self.outer
                raise

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if threading.get_ident() == _guard.main_thread:
            _guard.armed = self.outer

    def overdue(self) -> bool:
        """Whether this block, or one around it, is past its limit."""
        now = perf_counter()
        each: interruptible | None = self
        while each is not None:
            if now >= each.deadline:
                return True
            each = each.outer
        return False

    def spend(self) -> None:
        """Give those that are overdue no second interruption."""
        now = perf_counter()
        each: interruptible | None = self
        while each is not None:
            if now >= each.deadline:
                each.deadline = float("inf")
            each = each.outer


class _Guard:
    """The process's one guard: a signal handler is the process's, and so is the main thread."""

    def __init__(self) -> None:
        self.main_thread = threading.main_thread().ident
        self.armed: interruptible | None = None
        # Not SIGALRM, which test runners and embedders use themselves.
        self._signal = getattr(signal, "SIGVTALRM", None)
        self._thread: threading.Thread | None = None
        self._installed = False

    def arm(self, block: interruptible) -> None:
        """Have the innermost block watched. In the main thread only."""
        self.armed = block
        # After arming: a helper that is about to retire looks at `armed` once more.
        if self._thread is None and self._signal is not None:
            if not self._installed:
                self._installed = True
                signal.signal(self._signal, self._interrupt)
            self._thread = threading.Thread(
                target=self._watch, name="actors.interruptible", daemon=True
            )
            self._thread.start()

    def _watch(self) -> None:
        idle = 0
        pause = threading.Event()
        while True:
            pause.wait(_LOOK_EVERY_S)
            if idle >= _RETIRE_AFTER:
                self._thread = None
                if self.armed is None:
                    return
                self._thread = threading.current_thread()
            block = self.armed
            if block is None:
                idle += 1
                continue
            idle = 0
            if block.overdue():
                assert self.main_thread is not None
                assert self._signal is not None
                signal.pthread_kill(self.main_thread, self._signal)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        # Runs in the main thread, perhaps after the block that was meant has ended.
        block = self.armed
        if block is not None and block.overdue():
            block.spend()
            raise HandlerHung("interrupted: it ran past its limit")


_guard = _Guard()


class Watchdog:
    """Logs who blocks the loop of a system, with the stack, while it is blocked.

    A thread that looks at what the dispatcher is running. `with Watchdog(system): ...`; handlers
    that were merely slow are the dispatcher's own to log.
    """

    def __init__(self, system: ActorSystem, *, stuck_after_s: float = 1.0) -> None:
        self.stuck = 0  # how many handlers were found stuck
        self._dispatcher = system.dispatcher
        self._home_thread = system.home.thread
        self._stuck_after_s = stuck_after_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="actors.watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        reported = 0.0
        while not self._ended.wait(self._stuck_after_s / 4):
            cell, started = self._dispatcher.running, self._dispatcher.started
            if cell is None or started == reported:
                continue
            seconds = perf_counter() - started
            if seconds < self._stuck_after_s:
                continue
            reported = started
            self.stuck += 1
            frame: Any = sys._current_frames().get(self._home_thread)  # noqa: SLF001 -- the documented way
            _log.error(
                "loop_blocked",
                kind=cell.kind,
                key=cell.key,
                message=type(self._dispatcher.message).__name__,
                seconds=round(seconds, 1),
                stack="".join(traceback.format_stack(frame)) if frame is not None else "",
            )
