"""`python server.py` as a process of its own, as a user starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec

from protocol.client import ClientSettings
from tests.left_out import LEFT_OUT
from tests.spawner import SpawnedProcess

ROOT = Path(__file__).parent.parent
START_TIMEOUT_S = 120.0
SERVER: Sequence[str] = ("-m", "tests.actors.trial") if LEFT_OUT else (str(ROOT / "server.py"),)
"""What Python is to run: server.py, or what leaves a service out of its list."""
BANNER = re.compile(
    r"^greenroom \S+ is up(?: on \d+ nodes)?: clients at (?P<ws>wss?://\S+),"
    r" HTTP at (?P<http>[^\s,]+)(?:, API at (?P<api>[^\s,]+))?, data in (?P<data>.+)$"
)


def entry(*arguments: str) -> tuple[str, ...]:
    """What Python is to run for a server with other services, as `tests/actors/trial.py` says."""
    return ("-m", "tests.actors.trial", *arguments)


class Ended(NamedTuple):
    """A process that has ended."""

    code: int
    out: str
    err: str


PATIENT = ClientSettings(connect_timeout_s=60, request_timeout_s=60)
"""Settings for clients of a server process, which may take long to answer on a busy machine."""


def environment() -> dict[str, str]:
    """Return our environment without variables that could configure a server."""
    return {name: v for name, v in os.environ.items() if not name.startswith("GREENROOM_")}


def run(
    *arguments: str,
    entry: Sequence[str] = SERVER,
    cwd: Path = ROOT,
    timeout_s: float = START_TIMEOUT_S,
    variables: Mapping[str, str] | None = None,
) -> Ended:
    """Run `python server.py ...`, or another entry, to its end."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = start(
            *arguments, entry=entry, cwd=cwd, variables=variables,
            stdout=out.fileno(), stderr=err.fileno(),
        )  # fmt: skip
        try:
            code = process.wait(timeout_s)
        finally:
            process.kill()
        for file in (out, err):
            file.seek(0)
        return Ended(code, out.read(), err.read())


def start(
    *arguments: str,
    entry: Sequence[str] = SERVER,
    python: str = sys.executable,
    cwd: Path = ROOT,
    variables: Mapping[str, str] | None = None,
    files: tuple[int, int] | None = None,
    stdout: int,
    stderr: int,
) -> SpawnedProcess | subprocess.Popen[bytes]:
    """Start Python on `entry`, as `Server` does. The streams stay the caller's to close."""
    env = environment() | dict(variables or {})
    if python == sys.executable and files is None and not LEFT_OUT:
        return SpawnedProcess([*entry, *arguments], cwd=cwd, env=env, stdout=stdout, stderr=stderr)
    limits = [] if files is None else ["prlimit", f"--nofile={files[0]}:{files[1]}"]
    return subprocess.Popen(
        [*limits, python, *entry, *arguments],
        cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
    )  # fmt: skip


def flags(*settings: str) -> list[str]:
    """The arguments by which a command has these settings, `section.key=value`."""
    return [part for setting in settings for part in ("--set", setting)]


def alone_in(folder: Path) -> list[str]:
    """The settings of a server that shares neither data nor ports with others."""
    return [f"server.data_dir={folder}", "listen.port=0", "http.port=0", "api.port=0"]


class Server:
    """A running server on free ports, with its data in `folder`.

    Arguments:
        folder: the data directory.
        settings: `section.key=value`, over the defaults.
        entry: what Python is to run.
        variables: for its environment, beside ours.
        python: which Python.
        cwd: its working folder; by default the checkout, whose config.toml it finds.
        files: its soft and hard limit of open files.
    """

    def __init__(
        self,
        folder: Path,
        *settings: str,
        entry: Sequence[str] = SERVER,
        variables: Mapping[str, str] | None = None,
        python: str = sys.executable,
        cwd: Path = ROOT,
        files: tuple[int, int] | None = None,
    ) -> None:
        self.folder = folder
        arguments = flags(*alone_in(folder), "server.drain_s=0", *settings)
        (out, stdout), (err, stderr) = os.pipe(), os.pipe()
        self.process = start(
            "serve", *arguments, entry=entry, python=python, cwd=cwd, variables=variables,
            files=files, stdout=stdout, stderr=stderr,
        )  # fmt: skip
        os.close(stdout)
        os.close(stderr)
        self.out: list[str] = []
        self.err: list[str] = []
        self._banner = threading.Event()
        self._readers = [
            threading.Thread(target=self._read, args=(pipe, lines))
            for pipe, lines in ((out, self.out), (err, self.err))
        ]
        for reader in self._readers:
            reader.start()
        self._banner.wait(START_TIMEOUT_S)
        found = BANNER.match(self.out[0]) if self.out else None
        if found is None:
            self.kill()
            raise AssertionError(f"did not start: {self.out} {self.err}")
        self.api: str = found["api"] or ""
        self.ws, self.http, self.data = found["ws"], found["http"], found["data"]
        self.port = int(self.ws.rpartition("/ws")[0].rpartition(":")[2])
        self.http_port = int(self.http.rpartition(":")[2])

    def _read(self, pipe: int, lines: list[str]) -> None:
        with open(pipe, encoding="utf-8") as file:
            for line in file:
                lines.append(line.rstrip("\n"))
                if lines is self.out:
                    self._banner.set()
        self._banner.set()  # it ended, maybe without a line

    def get(self, path: str) -> tuple[int, str]:
        """Send a GET over HTTP; returns status and body."""
        try:
            with urllib.request.urlopen(self.http + path, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        assert found, f"no metric {name}"
        return sum(float(value) for value in found)

    def events(self) -> list[dict[str, Any]]:
        """Return the log so far, an object for each line."""
        return [msgspec.json.decode(line) for line in self.err if line.startswith("{")]

    def family(self) -> set[int]:
        """Return the pids of all descendants of the server, without its own."""
        return descendants(self.process.pid)

    def postgres(self) -> int:
        """Return the pid of its PostgreSQL."""
        (pid,) = [
            pid for pid in self.family()
            if Path(f"/proc/{pid}/comm").read_text().strip() == "postgres"
            and "-D" in Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        ]  # fmt: skip
        return pid

    def stop(self, signum: signal.Signals = signal.SIGTERM, timeout_s: float = 120) -> int:
        """Send a signal, wait for the end, return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signum)
        code = self.wait(timeout_s)
        if code:  # for the report of a test that fails by it
            print(*self.err[-40:], sep="\n")
        return code

    def wait(self, timeout_s: float = 120) -> int:
        """Wait until it ends and all that it has said is read; return the exit code."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not stop: {self.err[-10:]}") from None
        for reader in self._readers:
            reader.join()
        return code

    def kill(self) -> None:
        """Send SIGKILL."""
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.kill()


def descendants(pid: int) -> set[int]:
    """Pids of all children, their children, and so on, that live now."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text(encoding="latin-1").rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                parents.setdefault(int(fields[1]), []).append(int(folder.name))
    found: set[int] = set()
    line = [pid]
    while line:
        for child in parents.get(line.pop(), []):
            found.add(child)
            line.append(child)
    return found


def alive(pids: set[int]) -> set[int]:
    """Return those of `pids` that have not ended. A zombie has ended."""
    living = set()
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="latin-1")
        except OSError:
            continue
        if stat.rpartition(")")[2].split()[0] != "Z":
            living.add(pid)
    return living


def wait_until_gone(pids: set[int], timeout_s: float = 60) -> set[int]:
    """Wait for processes to end; returns those that have not in time."""
    deadline = time.monotonic() + timeout_s
    while (left := alive(pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left
