"""One process of a node, from its start to its end."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final

import msgspec
import structlog
import trio

from actors.node.line import (
    MESSAGE_BYTES,
    STACK_SIGNAL,
    VARIABLE,
    AskReady,
    Assignment,
    FromNode,
    Looked,
    Pulse,
    Up,
    Waiting,
    encode,
)
from actors.node.parent.caught import is_running
from actors.node.parent.ended import ProcessEnd
from actors.node.parent.output import NodeOutput
from actors.runtime.running_page import PAGE_BYTES, RunningBlock, RunningPage
from persistence.embedded.server_process import die_with_parent
from protocol.http.application import Readiness

log = structlog.get_logger("actors.node.parent")

START_S: Final = 120.0
"""How long a node may take to import its modules, and again to wait for its stores. A node that
takes longer is ended and replaced."""
ENDING_S: Final = 10.0
"""How long a process may take to end after it has closed its line to the parent."""
STACK_S: Final = 0.5
"""How long a node that hangs may take to write its stack, before it is killed."""
LAST_WORDS_S: Final = 1.0
"""How long the output of an ended process is still read. There may be no end to wait for, because
another process may hold the pipe."""
READ_BYTES: Final = 65_536


def own_command() -> list[str]:
    """Return the command that started this process, to start another one like it."""
    # The interpreter's own options and `-m module` are only in orig_argv.
    return [sys.executable, *sys.orig_argv[1:]]


class NodeProcess:
    """A node's process, which the kernel kills when this process ends.

    It is in a session of its own (setsid), so that a Ctrl-C reaches only the parent.

    Arguments:
        command: the command that starts it.
        assignment: what the parent lends it, such as sockets.
        output: takes its standard output and its standard error.
        hung_after_s: a process whose loop stands still for so long is killed; 0.0: never.
        changed: called when one of the attributes below has changed.

    Attributes:
        pid: its process id.
        waiting: set when it could start, and waits for `begin`.
        over: set once it has ended.
        ended: how it has ended; None: not yet.
        up_at: when it began to serve clients; None: not yet.
        asked: whether it was asked to stop.
        pulse: the last pulse that it sent.
        pulse_at: when it came; None: none has.
        pulse_s: the time between two.
        version: the version of Greenroom that it runs; "": it is not up yet.

    Raises:
        OSError, SubprocessError: it cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        assignment: Assignment,
        output: Callable[[], NodeOutput],
        *,
        hung_after_s: float,
        changed: Callable[[], None],
    ) -> None:
        self.waiting = trio.Event()
        self.over = trio.Event()
        self.ended: ProcessEnd | None = None
        self.up_at: float | None = None
        self.asked = False
        self.pulse = Pulse(0, 0, 0)
        self.pulse_at: float | None = None
        self.pulse_s = assignment.pulse_s
        self.version = ""
        self._why = ""
        self._begun_at = math.inf
        self._limit_s = START_S
        self._patience = trio.CancelScope()
        self._hung_after_s = hung_after_s
        self._changed = changed
        self._numbers = itertools.count(1)
        self._looks: dict[int, Callable[[Readiness | None], None]] = {}
        memory = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
        memory.truncate(PAGE_BYTES)
        self._page = RunningPage(memory.fileno())
        self._assignment = msgspec.structs.replace(assignment, page=memory.fileno())
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pipes = [os.pipe(), os.pipe()]
        lent = (*assignment.clients, *assignment.http, *assignment.api)
        try:
            self._process = _start(command, theirs, pipes, (memory.fileno(), *lent))
        except BaseException:
            ours.close()
            self._page.close()
            for read_end, _ in pipes:
                os.close(read_end)
            raise
        finally:
            memory.close()
            theirs.close()
            for _, write_end in pipes:
                os.close(write_end)
        self.pid = self._process.pid
        ours.setblocking(False)
        self._end = ours
        self._line = trio.socket.from_stdlib_socket(ours)
        self._outputs = [(trio.lowlevel.FdStream(read_end), output()) for read_end, _ in pipes]

    def begin(self) -> None:
        """Let it serve clients."""
        self._begun_at = trio.current_time()
        self._limit_s = START_S
        self._patience.deadline = trio.current_time() + START_S
        with contextlib.suppress(OSError):  # it has ended; `run` will notice
            self._end.send(encode(self._assignment))

    async def run(self) -> None:
        """Read its messages until it has ended. If this is cancelled, the process is killed."""
        try:
            async with trio.open_nursery() as watching:
                watching.start_soon(self._watch)
                async with trio.open_nursery() as reading:
                    for stream, output in self._outputs:
                        reading.start_soon(_read, stream, output)
                    await self._ended()
                    reading.cancel_scope.deadline = trio.current_time() + LAST_WORDS_S
                watching.cancel_scope.cancel()
        finally:
            if self._process.poll() is None:
                self._process.kill()
            code = self._process.wait()
            self._line.close()
            self._page.close()
            for take in self._looks.values():
                take(None)
            up_s = 0.0 if self.up_at is None else trio.current_time() - self.up_at
            _, (_, errors) = self._outputs
            self.ended = ProcessEnd(code, self._why, up_s, errors.words)
            self.over.set()

    def ask_to_stop(self) -> None:
        """Send SIGTERM: the first drains, the second hurries, the third ends it."""
        self.asked = True
        self._process.send_signal(signal.SIGTERM)
        self._changed()

    def kill(self) -> None:
        """End it by force."""
        self._process.kill()

    @property
    def silent_s(self) -> float:
        """How long ago its last pulse came; 0.0 before the first one."""
        return 0.0 if self.pulse_at is None else trio.current_time() - self.pulse_at

    def caught(self, after_s: float) -> RunningBlock | None:
        """Return the block that it has run for so long; None: it has not.

        Nor has a process that is stopped, or waits for a disk: that is no fault of a block's.
        """
        if self.ended is not None or self.over.is_set():
            return None
        block = self._page.running()
        if block is None or perf_counter() - block.began_s < after_s:
            return None
        return block if is_running(self.pid) else None

    async def look(self) -> Readiness | None:
        """Ask whether it is ready; None: no answer. A caller sets a time-out by cancelling this."""
        number = next(self._numbers)
        answered = trio.Event()
        found: list[Readiness | None] = []

        def take(readiness: Readiness | None) -> None:
            found.append(readiness)
            answered.set()

        self._looks[number] = take
        try:
            try:
                self._end.send(encode(AskReady(number)))
            except OSError:  # it has ended, or does not read its line
                return None
            await answered.wait()
        finally:
            del self._looks[number]
        return found[0]

    async def _ended(self) -> None:
        descriptor = os.pidfd_open(self.pid)
        try:
            await trio.lowlevel.wait_readable(descriptor)
        finally:
            os.close(descriptor)

    async def _watch(self) -> None:
        decode = msgspec.msgpack.Decoder(FromNode).decode
        while True:
            # If this process was frozen itself, messages may wait to be read: they come before the
            # deadline.
            with trio.CancelScope() as self._patience:
                self._patience.deadline = trio.current_time() + self._limit_s
                try:
                    data = await self._line.recv(MESSAGE_BYTES)
                except ConnectionResetError:  # it ended with a question unread
                    data = b""
            if self._patience.cancelled_caught:
                still = "it did not start" if self.up_at is None else "its loop stood still"
                await self._kill(f"{still} for {self._limit_s:g} s")
                return
            if not data:
                await trio.sleep(ENDING_S)
                await self._kill(f"it did not end within {ENDING_S:g} s")
                return
            try:
                self._take(decode(data))
            except msgspec.DecodeError as error:  # it is of a newer version
                log.warning("node is not understood", node=self._assignment.name, error=str(error))

    def _take(self, message: FromNode) -> None:
        match message:
            case Waiting():
                self._limit_s = math.inf if self._begun_at == math.inf else START_S
                self.waiting.set()
            case Up(version):
                self.version, self.up_at = version, trio.current_time()
                took_s = round(self.up_at - self._begun_at, 2)
                log.info("node is up", node=self._assignment.name, pid=self.pid, took_s=took_s)
                self._changed()
            case Pulse():
                self.pulse, self.pulse_at = message, trio.current_time()
                self._limit_s = self._hung_after_s or math.inf
            case Looked(number, found):
                if number in self._looks:
                    self._looks[number](found)

    async def _kill(self, why: str) -> None:
        self._why = why
        log.error("node is killed", node=self._assignment.name, pid=self.pid, why=why)
        if self.up_at is not None:
            self._process.send_signal(STACK_SIGNAL)
            await trio.sleep(STACK_S)
        self._process.kill()


def _start(
    command: Sequence[str],
    line: socket.socket,
    pipes: Sequence[tuple[int, int]],
    lent: Sequence[int],
) -> subprocess.Popen[bytes]:
    """Start a node's process.

    Arguments:
        command: the command.
        line: its end of the line to the parent.
        pipes: what takes its standard output and its standard error, as (read end, write end).
        lent: the other files that it gets.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=pipes[0][1],
        stderr=pipes[1][1],
        pass_fds=(line.fileno(), *lent),
        env={**os.environ, VARIABLE: str(line.fileno())},
        start_new_session=True,
        # PDEATHSIG is sent when the thread ends that started the process: here the main one, in
        # which trio runs.
        preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - no lock is taken
    )


async def _read(stream: trio.lowlevel.FdStream, output: NodeOutput) -> None:
    try:
        async with stream:
            with contextlib.suppress(trio.BrokenResourceError):
                async for data in stream:
                    output.feed(data)
    finally:
        output.end()
