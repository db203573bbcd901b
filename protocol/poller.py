"""Reads from all clients' sockets in one task.

trio waits for a socket one time: a system call to ask, a task to wake, for every read of every
client. Here the sockets stay in a level-triggered epoll of our own, trio waits for that one, and
all that have something are read in a row. What they brought is then handled, and what that led to
is sent, in the same step: a request and its reply take one pass of trio's scheduler in place of
four.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule

_TURN: Final = 256
"""Sockets read in a row, one read each; the others come in the next pass."""


class Poller:
    """`wait` is for connections, `run` is the task.

    Args:
        batch: entered before each row of reads and left after it, which handles what they brought.
        flusher: held as long, and left last, which sends what that led to.
    """

    def __init__(
        self, batch: AbstractContextManager[None], flusher: AbstractContextManager[None]
    ) -> None:
        self._batch = batch
        self._flusher = flusher
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
        waiting = self._waiting
        poll = self._epoll.poll
        own = self._epoll.fileno()
        try:
            while True:
                await trio.lowlevel.wait_readable(own)
                with self._flusher, self._batch:
                    for number, _ in poll(0, _TURN):
                        if number not in waiting:
                            continue  # what was just read has had its wait cancelled
                        readable, task = waiting[number]
                        if readable():
                            self._forget(number)
                            reschedule(task)
        finally:
            self._epoll.close()

    def _forget(self, number: int) -> None:
        del self._waiting[number]
        self._epoll.unregister(number)
