"""Code that holds up the event loop: found, named, and where it asked for it, interrupted."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from time import perf_counter
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Final

import structlog

from .checks import check_seconds
from .errors import HandlerHung

if TYPE_CHECKING:
    from .system import ActorSystem

_log = structlog.get_logger("actors")

_NOBODY: Final[Mapping[str, str]] = {}
_LOOK_EVERY_S: Final = 0.02
"""How late an interruption may come. Waking a thread 50 times a second costs 0.1 % of a core."""
_RETIRE_AFTER: Final = 100
"""Looks without anything guarded after which the helper thread ends; the next guard starts one."""
_POLITE: Final = 2
"""Interruptions that a block may swallow before it is interrupted wherever it goes."""
_STORM: Final = 10_000
"""At most so many interruptions in a row, then: to unwind takes one for each handler in the way."""
_COMPLAIN_EVERY_S: Final = 1.0
"""At most so often is it logged that interruptions are swallowed."""


class interruptible:  # noqa: N801 -- a context manager, named like trio's move_on_after
    """Guards synchronous code that must not hang: `with interruptible(0.25): game.tick()`.

    Raises HandlerHung inside the block if that runs longer than `limit_s` seconds, and again each
    `limit_s` for as long as the block goes on. What the block worked on is then in an unknown
    state.

    A helper thread sends the main thread a signal, and its Python handler raises only while the
    guard is armed and not in the guard's own code, so nothing outside the block can be hit, trio's
    internals least of all. Blocks nest; each has its own limit. Off the main thread, and where
    there are no signals to threads (Windows), nothing is interrupted.

    Code that catches everything catches this too. From the third time on HandlerHung is raised
    again wherever the interpreter looks for signals, in `except` and `finally` clauses too, until
    the block is left: no loop written in Python outlives that, but locks that it took by hand and
    releases in such a clause may stay taken. Only the inside of `logging` is spared, whose locks
    are everybody's. Each interruption that was swallowed is logged as an error with `who`, at most
    one line a second.

    Its limits: a long call into C is interrupted when it returns, or looks for signals itself; one
    that never does either is not, and the node hangs. Nor is code in C that drops the exceptions
    of what it calls and calls it for ever. A generator must not be suspended inside the block.

    Entering and leaving costs 1 us.

    Arguments:
        limit_s: seconds.
        who: what the log is to say about the code, such as the kind and key of its actor.
    """

    __slots__ = ("began", "deadline", "limit_s", "outer", "raised", "who")

    def __init__(self, limit_s: float, who: Mapping[str, str] = _NOBODY) -> None:
        if type(limit_s) is not float or not limit_s >= 0.0:
            check_seconds("limit_s", limit_s)
        self.limit_s = limit_s
        self.who = who
        self.began = 0.0  # when it was entered, by perf_counter; 0: it guards nothing
        self.deadline = 0.0
        self.outer: interruptible | None = None
        self.raised = 0  # interruptions so far, each storm as one

    def __enter__(self) -> None:
        if threading.get_ident() == _guard.main_thread:
            self.began = perf_counter()
            self.deadline = self.began + self.limit_s
            self.raised = 0
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

    def and_outer(self) -> Iterator[interruptible]:
        """This block and those around it, from inside out."""
        each: interruptible | None = self
        while each is not None:
            yield each
            each = each.outer

    def overdue(self) -> interruptible | None:
        """Return the innermost that is past its limit: this block, or one around it."""
        now = perf_counter()
        return next((each for each in self.and_outer() if now >= each.deadline), None)

    def prolong(self) -> None:
        """Give those that are overdue their time once more, to unwind."""
        now = perf_counter()
        for each in self.and_outer():
            if now >= each.deadline:
                each.deadline = now + each.limit_s


class _Guard:
    """The process's one guard: a signal handler is the process's, and so is the main thread."""

    def __init__(self) -> None:
        self.main_thread = threading.main_thread().ident
        self.armed: interruptible | None = None
        # Not SIGALRM, which test runners and embedders use themselves.
        self._signal = getattr(signal, "SIGVTALRM", None)
        self._thread: threading.Thread | None = None
        self._installed = False
        self._judging = False
        self._again: tuple[signal.Signals, ...] = ()  # the signal, if it is to come again at once
        self._stormed: interruptible | None = None
        self._storm_left = 0
        self._storm_place: tuple[int, int] | None = None
        self._complained: tuple[interruptible, int] | None = None
        self._complain_from = 0.0

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
                self._complained = None
                continue
            idle = 0
            hung = block.overdue()
            if hung is not None:
                assert self.main_thread is not None
                assert self._signal is not None
                swallowed = hung.raised  # now: the signal adds one that may yet end the block
                signal.pthread_kill(self.main_thread, self._signal)
                self._complain(hung, swallowed)

    def _complain(self, hung: interruptible, swallowed: int) -> None:
        # Here and not in the signal's handler, which may have interrupted whoever holds the locks
        # of the log.
        if not swallowed or self._complained == (hung, swallowed):
            return
        now = perf_counter()
        if now < self._complain_from:
            return
        self._complained, self._complain_from = (hung, swallowed), now + _COMPLAIN_EVERY_S
        _log.error(
            "interruption_swallowed", **hung.who, times=swallowed, stack=_stack(self.main_thread)
        )

    def _interrupt(self, _number: int, frame: FrameType | None) -> None:
        # Runs in the main thread, perhaps after the block that was meant has ended.
        if self._judging:  # called for the signal that it sets itself, or one that came meanwhile
            return
        self._judging = True
        try:
            error = self._judge(frame)
        finally:
            self._judging = False
        # Marks the signal as arrived. From here to the end there is no call that the interpreter
        # follows by looking for signals, so it is next found by the code that was interrupted.
        [*map(_thread.interrupt_main, self._again)]
        if error is not None:
            raise error

    def _judge(self, frame: FrameType | None) -> HandlerHung | None:
        self._again = ()
        armed = self.armed
        if armed is None:
            self._stormed = None
            return None
        hung = self._stormed
        if hung is not None and hung not in armed.and_outer():  # it was left
            hung = self._stormed = None
        spared = _is_spared(frame, self._stormed is not None)
        if hung is None:
            hung = armed.overdue()
            if hung is None or spared:  # the helper will ask again
                return None
            armed.prolong()
            hung.raised += 1
            if hung.raised > _POLITE:
                self._stormed, self._storm_left = hung, _STORM
        if self._stormed is not None and frame is not None:
            # Not twice in a row in one place: CPython 3.12 takes what is raised at a jump back for
            # raised before the jump's target, so that a loop can come back to it for ever.
            place = (id(frame), frame.f_lasti)
            spared = spared or place == self._storm_place
            self._storm_place = None if spared else place
            self._storm_left -= 1
            if self._storm_left:
                assert self._signal is not None
                self._again = (self._signal,)
            else:
                self._stormed = None
        if spared:
            return None
        return HandlerHung(f"interrupted {hung.raised} times: it ran past its limit")


def _is_spared(frame: FrameType | None, storm: bool) -> bool:
    # Between the block and what is around it the guard's own code runs, where an interruption would
    # leave the guard armed, or come out of a block that was in time.
    while frame is not None:
        if frame.f_code in _OWN:
            return True
        if storm and frame.f_globals.get("__name__") == "logging":
            return True
        frame = frame.f_back
    return False


def _stack(thread: int | None) -> str:
    frame: Any = sys._current_frames().get(thread or 0)  # noqa: SLF001 -- the documented way
    return "".join(traceback.format_stack(frame)) if frame is not None else ""


_OWN: Final = frozenset(
    function.__code__ for function in (interruptible.__enter__, interruptible.__exit__)
)
_guard = _Guard()


class Watchdog:
    """Logs who blocks the loop of a system, with the stack, while it is blocked.

    A thread that looks at what the dispatcher is running. `with Watchdog(system): ...`; handlers
    that were merely slow are the dispatcher's own to log.
    """

    def __init__(self, system: ActorSystem, *, stuck_after_s: float = 1.0) -> None:
        check_seconds("stuck_after_s", stuck_after_s, above_zero=True)
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
            _log.error(
                "loop_blocked",
                kind=cell.kind,
                key=cell.key,
                message=type(self._dispatcher.message).__name__,
                seconds=round(seconds, 1),
                stack=_stack(self._home_thread),
            )
