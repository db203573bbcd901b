"""The thread and the event loop that actors live in, and the way there from other threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import get_ident
from typing import Any

import structlog
import trio

from .errors import MailboxFull

_log = structlog.get_logger("actors")


class Home:
    """One per trio run. From any thread, `call_soon` runs a function in the run's own thread.

    However many calls queue up, the loop is woken once for all of them: a wake-up writes to a
    socket and costs some 10 us, an append costs 0.05.
    """

    __slots__ = ("_jobs", "_token", "_woken", "capacity", "free_awaits", "thread")

    def __init__(self, token: trio.lowlevel.TrioToken, *, capacity: int = 100_000) -> None:
        self.thread = get_ident()
        self.capacity = capacity
        self.free_awaits = 0  # how many done futures were awaited since the last checkpoint
        self._token = token
        self._jobs: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._woken = False

    @staticmethod
    def current() -> Home:
        """The home of the running trio loop; made at the first call.

        Raises RuntimeError outside trio.
        """
        try:
            return _current.get()
        except LookupError:
            home = Home(trio.lowlevel.current_trio_token())
            _current.set(home)
            return home

    def here(self) -> bool:
        """Whether the caller is at home already."""
        return get_ident() == self.thread

    def call_soon(self, function: Callable[..., object], *args: Any) -> None:
        """Call `function(*args)` at home, soon, in the order of the calls. From any thread.

        Raises MailboxFull if `capacity` calls wait already, trio.RunFinishedError if the run
        is over.
        """
        if len(self._jobs) >= self.capacity:
            raise MailboxFull(f"{self.capacity} calls wait for the event loop")
        self._jobs.append((function, args))
        # Under the GIL this order is enough: _run clears the flag before it looks at the jobs, so
        # whoever reads True here appended early enough to be seen.
        if not self._woken:
            self._woken = True
            self._token.run_sync_soon(self._run)

    def _run(self) -> None:
        self._woken = False
        # Only what waits now: jobs that threads keep adding must not keep the loop here.
        for _ in range(len(self._jobs)):
            function, args = self._jobs.popleft()
            try:
                function(*args)
            except Exception:
                # An exception from here would end the whole trio run as an internal error.
                _log.exception("call_from_thread_failed", function=repr(function))
        if self._jobs and not self._woken:
            self._woken = True
            self._token.run_sync_soon(self._run)


_current: trio.lowlevel.RunVar[Home] = trio.lowlevel.RunVar("actors_home")
