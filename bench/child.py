"""A server as a child process on the loopback: started, found, pinned, measured, stopped."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from bench.family import Family, ProcessUsage, family, total, usage_of

ROOT = Path(__file__).parent.parent
ADDRESS = re.compile(r"wss?://[^\s/,]+(?:/[^\s,]*)?")


class ChildServer:
    """A process that prints a ws:// address once it listens.

    Arguments:
        command: arguments after the interpreter.
        core: the core that all its threads, and those of its nodes, are pinned to once it listens;
            None: they are not pinned. Its embedded stores are not pinned.
        start_timeout_s: seconds it may take to print the address.
        interpreter: the program that runs it; by default this Python.

    Raises:
        RuntimeError: it ended, or it did not print an address in time.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        core: int | None = None,
        start_timeout_s: float = 60.0,
        interpreter: str = sys.executable,
    ) -> None:
        self.name = " ".join(command[:2])
        # The log goes to a file, since nobody would empty a pipe while the server runs.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `stop`
        self.process = subprocess.Popen(
            [interpreter, *command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        try:
            self.url = self._wait_for_address(start_timeout_s)
            if core is not None:
                for pid in self.family().working:
                    each_thread(pid, lambda thread: os.sched_setaffinity(thread, {core}))
        except BaseException:
            self.stop(timeout_s=0)
            raise

    def _wait_for_address(self, timeout_s: float) -> str:
        deadline = time.monotonic() + timeout_s
        output: IO[bytes] | None = self.process.stdout
        assert output is not None
        seen = b""
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while selector.select(deadline - time.monotonic()):
                chunk = os.read(output.fileno(), 65_536)
                seen += chunk
                # Only whole lines: an address could be cut in two.
                found = ADDRESS.search(seen.rpartition(b"\n")[0].decode())
                if found:
                    return found.group()
                if not chunk:
                    break
        self._log.seek(0)
        told = self._log.read().decode(errors="replace").strip() or seen.decode()
        raise RuntimeError(f"{self.name} did not start: {told[-2000:]}")

    def usage(self) -> ProcessUsage:
        """Return what the server has used, all of its nodes together, without its stores."""
        return total(map(usage_of, self.family().working))

    def family(self) -> Family:
        """Return the processes that it consists of now, its stores included."""
        return family(self.process.pid)

    def stop(self, timeout_s: float = 20.0) -> int:
        """Send SIGTERM, and SIGKILL if it has not ended in time; return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
        code = self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._log.close()
        return code

    def __enter__(self) -> ChildServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def waited_s(pid: int) -> float:
    """Return the seconds that a process's main thread was ready while other programs had its core.

    The time that the process's other threads ran is subtracted, since they are pinned to the same
    core. Only the difference of two values means something. If it is below 0, those threads ran on
    other cores.
    """
    waited_ns = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            ran_ns, delayed_ns, _ = (thread / "schedstat").read_text(encoding="ascii").split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        waited_ns += int(delayed_ns) if thread.name == str(pid) else -int(ran_ns)
    return waited_ns / 1e9


def each_thread(pid: int, act: Callable[[int], None]) -> None:
    """Call `act` with the id of each thread of a process, except of one that ends meanwhile."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            act(int(thread.name))


def check_realtime() -> None:
    """Raise RuntimeError if this process may not use real-time priority."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        raise RuntimeError("--realtime needs CAP_SYS_NICE, which root has as a rule") from None
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def make_realtime(pid: int) -> None:
    """Give all threads of a process real-time priority (sched(7), SCHED_RR).

    Ordinary programs cannot take the core from them then.
    """
    each_thread(pid, lambda thread: os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(1)))
