"""The generator processes of a run, as their parent sees them."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType

import msgspec

from bench.child import ROOT
from bench.scenario import GeneratorOrder
from bench.tally import Counts


class GeneratorError(RuntimeError):
    """A generator process failed, ended early or took too long."""


class Crew:
    """The generator processes of one run.

    Arguments:
        orders: one for each process to start.
        cores: the cores that the processes may run on.
        progress: called about once a second with {name of a series: events so far}, summed over all
            processes.
    """

    def __init__(
        self,
        orders: Sequence[GeneratorOrder],
        cores: set[int],
        progress: Callable[[dict[str, int]], None],
    ) -> None:
        self.progress = progress
        self.done: dict[int, dict[str, int]] = {}
        self.p99_ms: dict[int, float] = {}
        """Number of a process -> its p99 latency in the last second."""
        self.counts: dict[int, Counts] = {}
        self.ready: dict[int, int] = {}
        self.over: set[int] = set()
        self._told = 0.0
        self._rest: dict[int, bytes] = {}
        self._selector = selectors.DefaultSelector()
        self.processes: list[subprocess.Popen[bytes]] = []
        for part, order in enumerate(orders):
            process = subprocess.Popen(
                [sys.executable, "-m", "bench.generator"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            self.processes.append(process)
            os.sched_setaffinity(process.pid, cores)
            assert process.stdout is not None
            self._rest[part] = b""
            self._selector.register(process.stdout, selectors.EVENT_READ, part)
            self._say(process, msgspec.json.encode(order))

    def _say(self, process: subprocess.Popen[bytes], line: bytes) -> None:
        assert process.stdin is not None
        process.stdin.write(line + b"\n")
        process.stdin.flush()

    def wait_ready(self, timeout_s: float) -> int:
        """Wait until all clients are in place; return how many there are.

        Raises:
            GeneratorError: a process failed, or it took longer than `timeout_s`.
        """
        self._listen(lambda: len(self.ready) == len(self.processes), timeout_s)
        return sum(self.ready.values())

    def start(self, start_ns: int) -> None:
        """Let all processes begin at `start_ns`, a time of CLOCK_MONOTONIC."""
        self.done.clear()
        self.p99_ms.clear()
        for process in self.processes:
            self._say(process, str(start_ns).encode())

    def listen_for(self, seconds: float) -> None:
        """Report progress for so many seconds."""
        self._listen(lambda: False, seconds, must=False)

    def wait_over(self, timeout_s: float) -> None:
        """Wait until all processes have sent everything, but at most `timeout_s`."""
        self._listen(lambda: self.all_over, timeout_s, must=False)

    @property
    def all_over(self) -> bool:
        return len(self.over) == len(self.processes)

    def results(self, timeout_s: float) -> list[Counts]:
        """Wait until all processes are done; return what each counted.

        Raises:
            GeneratorError: a process failed, or it took longer than `timeout_s`.
        """
        self._listen(lambda: len(self.counts) == len(self.processes), timeout_s)
        return [self.counts[part] for part in sorted(self.counts)]

    def _listen(self, over: Callable[[], bool], timeout_s: float, *, must: bool = True) -> None:
        deadline = time.monotonic() + timeout_s
        while not over():
            left = deadline - time.monotonic()
            if left <= 0:
                if must:
                    raise GeneratorError(f"the load generators took longer than {timeout_s:g} s")
                return
            for key, _ in self._selector.select(left):
                part = key.data
                chunk = os.read(key.fd, 1 << 20)
                if not chunk:
                    self._selector.unregister(key.fileobj)
                    if part not in self.counts:
                        code = self.processes[part].wait()
                        raise GeneratorError(f"a load generator ended with code {code}")
                *lines, self._rest[part] = (self._rest[part] + chunk).split(b"\n")
                for line in lines:
                    self._heard(part, line)

    def _heard(self, part: int, line: bytes) -> None:
        if line.startswith(b'{"ready"'):
            self.ready[part] = msgspec.json.decode(line)["ready"]
        elif line.startswith(b'{"over"'):
            self.over.add(part)
        elif line.startswith(b'{"failed"'):
            raise GeneratorError(f"a load generator failed: {msgspec.json.decode(line)['failed']}")
        elif line.startswith(b'{"done"'):
            told = msgspec.json.decode(line)
            self.done[part], self.p99_ms[part] = told["done"], told["p99_ms"]
            if time.monotonic() - self._told > 0.9:
                self._told = time.monotonic()
                total: dict[str, int] = {}
                for done in self.done.values():
                    for name, count in done.items():
                        total[name] = total.get(name, 0) + count
                self.progress(total)
        else:
            self.counts[part] = msgspec.json.decode(line, type=Counts)

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        self._selector.close()
