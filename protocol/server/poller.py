"""The poller reads from all clients' sockets in one task.

With trio's own wait for a socket, each read of each client costs a system call and a task to wake.
Here the sockets stay in a level-triggered epoll of our own, and trio waits for that one. All
sockets that have bytes are then read in a row, the requests are handled, and the replies are sent,
in the same step: one pass of trio's scheduler in place of four. A row ends after a while even if
sockets are left, so that timers are not late.
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
"""The longest row of reads. Sockets that are left come in the next pass."""
_AT_ONCE: Final = 32
"""How many sockets epoll returns at once. All of them are read, because the kernel moves them to
the end of its list, and one that is not read would miss its turn."""


class Poller:
    """Reads sockets for connections, which call `wait`; `run` is its task.

    Args:
        turn: entered before each row of reads and left after it. On leaving, it handles the
            requests that were read and sends the replies.
    """

    def __init__(self, turn: AbstractContextManager[None]) -> None:
        self._turn = turn
        self._epoll = select.epoll()
        self._waiting: dict[int, tuple[Callable[[], bool], Task]] = {}

    async def wait(self, sock: socket.socket, readable: Callable[[], bool]) -> None:
        """Call `readable` each time that `sock` has something to read, until it returns True.

        `readable` is called in another task and must not raise. The socket must stay open.
        """
        number = sock.fileno()
        self._epoll.register(number, select.EPOLLIN)
        self._waiting[number] = (readable, current_task())

        def abort(_: RaiseCancelT) -> Abort:
            self._forget(number)
            return Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    # A Ctrl-C is for the main task, not for the request that is being handled.
    @trio.lowlevel.enable_ki_protection
    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read until cancelled. No connection may be in `wait` by then."""
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
                    continue  # a handler in this row has cancelled this wait
                readable, task = waiting[number]
                if readable() and number in waiting:
                    self._forget(number)
                    reschedule(task)
            if len(ready) < _AT_ONCE or perf_counter() > until:
                return

    def _forget(self, number: int) -> None:
        del self._waiting[number]
        self._epoll.unregister(number)
