"""The line between a node and its parent: what they say to each other, and the node's end of it.

It is a pair of sockets that keep messages apart (SOCK_SEQPACKET). A node that has read its
configuration waits for its assignment, so that it can be ready while the one that it replaces
drains. From then on it says something each `pulse_s`, from its event loop: a node that is silent
stands still. Neither side waits for the other one to read.

A restart starts newer nodes under an older parent. So a message that is not known is ignored, and
a field that is added needs a default.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog
import trio

from actors.runtime.running_page import RunningPage
from actors.runtime.watchdog import show_running
from protocol.http.application import Readiness

log = structlog.get_logger("actors.node.line")

VARIABLE: Final = "GREENROOM_PARENT"
"""The environment variable that names the descriptor of the node's end. It is no setting."""
MESSAGE_BYTES: Final = 65_536
STACK_SIGNAL: Final = signal.SIGUSR1
"""A node that gets it writes the stack of each thread to standard error, even if it hangs in C."""


class Assignment(msgspec.Struct, frozen=True, tag="assignment"):
    """What a parent lends to a node.

    Attributes:
        name: the node's.
        clients: descriptors of sockets for clients, which may not listen yet.
        http: descriptors of listening sockets for HTTP.
        api: descriptors of sockets for the HTTP API, which may not listen yet.
        postgres_url, redis_url: the addresses of the stores, those of embedded ones included.
        terminal: whether people read the log on a terminal.
        pulse_s: the longest that the node may be silent.
        labels: the node's.
        page: the descriptor of the memory in which the node says what it runs; -1: there is none.
        page_ports: the ports of web pages that clients may come from, beside that of the node.
    """

    name: str
    clients: tuple[int, ...]
    http: tuple[int, ...]
    postgres_url: str
    redis_url: str
    terminal: bool
    pulse_s: float
    labels: tuple[str, ...] = ()
    page: int = -1
    page_ports: tuple[int, ...] = ()
    api: tuple[int, ...] = ()


class Waiting(msgspec.Struct, frozen=True, tag="waiting"):
    """The node can start with the configuration that it has read, and waits for its assignment."""


class AskReady(msgspec.Struct, frozen=True, tag="look"):
    """The parent asks whether the node is ready. The answer bears the same number."""

    number: int


class Up(msgspec.Struct, frozen=True, tag="up"):
    """The node serves clients."""

    version: str


class Pulse(msgspec.Struct, frozen=True, tag="pulse"):
    """The node's loop runs, and so much is there."""

    connections: int
    sessions: int
    actors: int
    slots: int = 0


class Looked(msgspec.Struct, frozen=True, tag="looked"):
    """The answer to `AskReady`."""

    number: int
    found: Readiness


FromParent = Assignment | AskReady
FromNode = Waiting | Up | Pulse | Looked

encode = msgspec.msgpack.Encoder().encode


class ParentLine:
    """The node's end of the line.

    Arguments:
        end: the socket; it is owned.

    Attributes:
        assignment: what the parent lends to this node, after `receive`.
    """

    assignment: Assignment

    def __init__(self, end: socket.socket) -> None:
        self._decode = msgspec.msgpack.Decoder(FromParent).decode
        self._end = end

    @classmethod
    def inherited(cls) -> ParentLine | None:
        """Return the line to the parent that started this process; None: it was no parent."""
        descriptor = os.environ.pop(VARIABLE, "")
        if not descriptor.isdigit():
            return None
        os.set_inheritable(int(descriptor), False)
        if sys.stderr is not None:
            faulthandler.register(STACK_SIGNAL, chain=False)
        return cls(socket.socket(fileno=int(descriptor)))

    def receive(self) -> bool:
        """Wait for the assignment; returns whether there is one. False: the node is not needed."""
        self._end.send(encode(Waiting()))
        data = self._end.recv(MESSAGE_BYTES)
        if not data:
            return False
        first = self._decode(data)
        assert isinstance(first, Assignment)
        self.assignment = first
        self._end.setblocking(False)
        if first.page >= 0:
            show_running(RunningPage(first.page))
            os.close(first.page)
        return True

    def say(self, message: FromNode) -> None:
        """Tell the parent. A message that has no room is dropped: the parent does not read."""
        with contextlib.suppress(OSError):
            self._end.send(encode(message))

    async def run(
        self,
        pulse: Callable[[], Pulse],
        look: Callable[[], Awaitable[Readiness]],
        gone: Callable[[str], None],
    ) -> None:
        """Send pulses and answer questions until cancelled.

        Arguments:
            pulse: returns what is there now; cheap.
            look: says whether the node is ready.
            gone: called if the parent has ended, with a reason to stop. The kernel kills a node
                whose parent has ended, so this is for a system that does not.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._beat, pulse)
            end = trio.socket.from_stdlib_socket(self._end)
            while data := await end.recv(MESSAGE_BYTES):
                try:
                    message = self._decode(data)
                except msgspec.DecodeError as error:
                    log.warning("parent is not understood", error=str(error))
                    continue
                if isinstance(message, AskReady):
                    nursery.start_soon(self._answer, message.number, look)
            gone("the parent has ended")

    async def _beat(self, pulse: Callable[[], Pulse]) -> None:
        while True:
            self.say(pulse())
            await trio.sleep(self.assignment.pulse_s)

    async def _answer(self, number: int, look: Callable[[], Awaitable[Readiness]]) -> None:
        self.say(Looked(number, await look()))
