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
from typing import IO, NamedTuple

ROOT = Path(__file__).parent.parent
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
ADDRESS = re.compile(r"wss?://[^\s/,]+(?:/[^\s,]*)?")


class ProcessUsage(NamedTuple):
    """What a process has used: CPU seconds since its start, resident bytes now."""

    cpu_s: float
    kernel_s: float
    """The part of `cpu_s` that was spent in system calls."""
    rss_bytes: int
    files: int = 0
    """Open file descriptors."""


class ChildServer:
    """A process that prints a ws:// address once it listens.

    Arguments:
        command: arguments after the interpreter.
        core: the core that all its threads are pinned to once it listens; None: they are not
            pinned. Processes that it has started by then (embedded stores) are not pinned.
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
                each_thread(self.process.pid, lambda thread: os.sched_setaffinity(thread, {core}))
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
        """Return what the process itself has used, without its children."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii")
        fields = stat.rpartition(")")[2].split()
        # Fields 14, 15 and 24 of proc(5); three stand before the cut.
        user, kernel = int(fields[11]), int(fields[12])
        return ProcessUsage(
            cpu_s=(user + kernel) / TICKS_A_SECOND,
            kernel_s=kernel / TICKS_A_SECOND,
            rss_bytes=int(fields[21]) * os.sysconf("SC_PAGE_SIZE"),
            files=count_files(Path(f"/proc/{self.process.pid}/fd")),
        )

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


def count_files(listing: Path) -> int:
    """Return how many files a process has open, given its `/proc/PID/fd`.

    Since Linux 6.2 the size of the folder says so (proc(5)). Listing 10,000 files instead takes 20
    ms, during which the process cannot use its own files. Once a second, that pause was the p99.9
    of the latencies that were to be measured.
    """
    return listing.stat().st_size or sum(1 for _ in listing.iterdir())
