"""Finds and logs code that blocks the event loop, and interrupts code that allows it."""

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
import trio

from .checks import check_seconds
from .culprit import find_culprit
from .errors import HandlerHung
from .running_page import RunningPage

if TYPE_CHECKING:
    from .system import ActorSystem

_log = structlog.get_logger("actors")

_NOBODY: Final[Mapping[str, str]] = {}
LOOK_EVERY_S: Final = 0.02
"""How late an interruption may come. To wake a thread 50 times a second costs 0.1 % of a core."""
_RETIRE_AFTER: Final = 100
"""The helper thread ends after so many looks without a guarded block. The next block starts it."""
_POLITE: Final = 2
"""How many interruptions a block may swallow before it is interrupted everywhere."""
_STORM: Final = 10_000
"""The most interruptions in a row. To unwind takes one for each `except` clause in the way."""
_COMPLAIN_EVERY_S: Final = 1.0
"""The least time between two log lines about swallowed interruptions."""


class interruptible:  # noqa: N801 -- a context manager, named like trio's move_on_after
    """Guards synchronous code that must not hang: `with interruptible(0.25): game.tick()`.

    HandlerHung is raised inside the block if it runs longer than `limit_s` seconds, and again every
    `limit_s` seconds until the block ends. The objects that the block worked on are in an unknown
    state then.

    A helper thread sends a signal to the main thread. The signal's handler raises only while the
    guard is armed, and not in the guard's own code, so that no code outside the block can be hit.
    Blocks nest, each with its own limit. Nothing is interrupted in other threads, or on a system
    without signals to threads (Windows).

    Code that catches every exception catches this one as well. After two interruptions that were
    swallowed, HandlerHung is raised at every point where the interpreter looks for signals, also in
    `except` and `finally` clauses, until the block is left. No loop written in Python survives
    that. But a lock that such a clause releases may stay taken. Only the code of `logging` is
    spared, since all code shares its locks. Swallowed interruptions are logged as errors with
    `who`, at most one line a second.

    Limits: a call into C is interrupted when it returns, or if it looks for signals itself. A call
    that does neither hangs the node. So does code in C that calls Python for ever and drops its
    exceptions. A generator must not be suspended inside the block.

    To enter and leave a block costs 1 us.

    Arguments:
        limit_s: the limit in seconds.
        who: fields for the log that identify the code, such as the kind and key of its actor.
    """

    __slots__ = ("began", "deadline", "limit_s", "outer", "raised", "who")

    def __init__(self, limit_s: float, who: Mapping[str, str] = _NOBODY) -> None:
        if type(limit_s) is not float or not limit_s >= 0.0:
            check_seconds("limit_s", limit_s)
        self.limit_s = limit_s
        self.who = who
        self.began = 0.0  # when the block was entered, by perf_counter; 0: it guards nothing
        self.deadline = 0.0
        self.outer: interruptible | None = None
        self.raised = 0  # interruptions so far; a storm counts as one

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
            _guard.armed = outer = self.outer
            if _guard.page is not None:
                if outer is None:
                    _guard.page.leave()
                else:
                    _guard.page.enter(outer.who, outer.began)

    def and_outer(self) -> Iterator[interruptible]:
        """Yield this block and the blocks around it, from the inside out."""
        each: interruptible | None = self
        while each is not None:
            yield each
            each = each.outer

    def overdue(self) -> interruptible | None:
        """Return the innermost block past its limit: this block, or one around it."""
        now = perf_counter()
        return next((each for each in self.and_outer() if now >= each.deadline), None)

    def prolong(self) -> None:
        """Give each overdue block its time limit again, to unwind."""
        now = perf_counter()
        for each in self.and_outer():
            if now >= each.deadline:
                each.deadline = now + each.limit_s


class _Guard:
    """The guard of the process. There is one, as a process has one handler for a signal."""

    def __init__(self) -> None:
        self.main_thread = threading.main_thread().ident
        self.armed: interruptible | None = None
        self.page: RunningPage | None = None
        # Not SIGALRM, which test runners and embedders use themselves.
        self._signal = getattr(signal, "SIGVTALRM", None)
        self._thread: threading.Thread | None = None
        self._installed = False
        self._judging = False
        self._again: tuple[signal.Signals, ...] = ()  # the signal, if it has to come again at once
        self._stormed: interruptible | None = None
        self._storm_left = 0
        self._storm_place: tuple[int, int] | None = None
        self._complained: tuple[interruptible, int] | None = None
        self._complain_from = 0.0

    def arm(self, block: interruptible) -> None:
        """Watch a block, the innermost one. Called in the main thread only."""
        self.armed = block
        if self.page is not None:
            self.page.enter(block.who, block.began)
        # Look for the thread after arming: a helper that is about to end looks at `armed` again.
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
            pause.wait(LOOK_EVERY_S)
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
                swallowed = hung.raised  # before the signal, whose interruption may end the block
                signal.pthread_kill(self.main_thread, self._signal)
                self._complain(hung, swallowed)

    def _complain(self, hung: interruptible, swallowed: int) -> None:
        # Logged here and not in the signal's handler, which may have interrupted code that holds
        # the locks of the log.
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
        # It runs in the main thread, perhaps after the hung block has ended.
        if self._judging:  # a signal that this handler has set, or another one, came inside it
            return
        self._judging = True
        try:
            error = self._judge(frame)
        finally:
            self._judging = False
        # Mark the signal as arrived again. The interpreter does not look for signals from here to
        # the end of this handler, so the interrupted code is the next to find it.
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
        if hung is not None and hung not in armed.and_outer():  # the block was left
            hung = self._stormed = None
        spared = _is_spared(frame, self._stormed is not None)
        if hung is None:
            hung = armed.overdue()
            if hung is None or spared:  # the helper will send another signal
                return None
            armed.prolong()
            hung.raised += 1
            if hung.raised > _POLITE:
                self._stormed, self._storm_left = hung, _STORM
        if self._stormed is not None and frame is not None:
            # Do not raise twice in a row in one place. CPython 3.12 treats an exception at a jump
            # back as raised before the jump's target, so a loop could come back to it for ever.
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
    # The guard's own code runs at both ends of a block. An interruption there would leave the guard
    # armed, or come out of a block that was in time.
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


def show_running(page: RunningPage | None) -> None:
    """Have each `interruptible` block of this process noted on a page; None: on none.

    Another process can then say in which block this one is caught.
    """
    _guard.page = page


class Watchdog:
    """Logs the code that blocks the loop of a system, with the stack, while it is blocked.

    A thread calls the loop and waits for its answer. So it notices any code that blocks the loop:
    handlers, hooks, constructors and callbacks, also `async` ones, and code outside of actors. The
    log names the function, and its actor if there is one. Use it as `with Watchdog(system): ...`.
    The dispatcher itself logs handlers that were merely slow.

    Arguments:
        system: the system to watch.
        stuck_after_s: how long the loop may be blocked before that is logged, in seconds.

    Attributes:
        stuck: how often the loop was found blocked.
    """

    def __init__(self, system: ActorSystem, *, stuck_after_s: float = 1.0) -> None:
        check_seconds("stuck_after_s", stuck_after_s, above_zero=True)
        self.stuck = 0
        self._dispatcher = system.dispatcher
        self._home = system.home
        self._stuck_after_s = stuck_after_s
        self._answered = True
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="actors.watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        called, told = 0.0, False
        while not self._ended.wait(self._stuck_after_s / 4):
            if self._answered:
                called, told, self._answered = perf_counter(), False, False
                try:
                    self._home.call_soon(self._answer)
                except trio.RunFinishedError:
                    return
            elif not told and (seconds := perf_counter() - called) >= self._stuck_after_s:
                told = self._tell(seconds)

    def _answer(self) -> None:
        self._answered = True

    def _tell(self, seconds: float) -> bool:
        culprit = find_culprit(self._home, self._dispatcher)
        if culprit is None:  # the loop runs again, or the whole process stood still
            return False
        self.stuck += 1
        _log.error("loop_blocked", seconds=round(seconds, 1), **culprit.fields)
        return True
