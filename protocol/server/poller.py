"""Reads from all clients' sockets in one task.

trio waits for a socket one time: a system call to ask, a task to wake, for every read of every
client. Here the sockets stay in a level-triggered epoll of our own, trio waits for that one, and
all that have something are read in a row. What they brought is then handled, and what that led to
is sent, in the same step: a request and its reply take one pass of trio's scheduler in place of
four. A row ends after a while though sockets are left, or timers would be late by as much.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from time import perf_counter
from typing import Final

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule

_ROW_S: Final = 0.002
"""How long sockets are read in a row; the others come in the next pass."""
_AT_ONCE: Final = 32
"""Sockets asked for at once. The kernel gives each its turn, but nobody's is skipped only if all
that it names are read."""


class Poller:
    """`wait` is for connections, `run` is the task.

    Args:
        turn: entered before each row of reads and left after it, which handles what they brought
            and sends what that led to.
    """

    def __init__(self, turn: AbstractContextManager[None]) -> None:
        self._turn = turn
        self._epoll = select.epoll()
        self._waiting: dict[int, tuple[Callable[[], bool], Task]] = {}

    async def wait(self, sock: socket.socket, readable: Callable[[], bool]) -> None:
        """Call `readable` whenever `sock` has something to read, until it returns True.

        It is called in another task and must not raise. The socket must stay open meanwhile.
        """
        number = sock.fileno()
        self._epoll.register(number, select.EPOLLIN)
        self._waiting[number] = (readable, current_task())

        def abort(_: RaiseCancelT) -> Abort:
            self._forget(number)
            return Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    # A Ctrl-C is for the main task, not for whatever is being handled.
    @trio.lowlevel.enable_ki_protection
    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read until cancelled; nobody may be waiting then."""
        task_status.started()
        own = self._epoll.fileno()
        try:
            while True:
                await trio.lowlevel.wait_readable(own)
                with self._turn:
                    self._read_row(perf_counter() + _ROW_S)
        finally:
            self._epoll.close()

    def _read_row(self, until: float) -> None:
        waiting = self._waiting
        while True:
            ready = self._epoll.poll(0, _AT_ONCE)
            for number, _ in ready:
                if number not in waiting:
                    continue  # what was just read has had its wait cancelled
                readable, task = waiting[number]
                if readable() and number in waiting:
                    self._forget(number)
                    reschedule(task)
            if len(ready) < _AT_ONCE or perf_counter() > until:
                return

    def _forget(self, number: int) -> None:
        del self._waiting[number]
        self._epoll.unregister(number)
