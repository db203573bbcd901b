"""The launcher as a process of its own, and a look at which of its children are left."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[3]


class Launched:
    """Runs `launcher.py` on `folder`, and kills it at the end if need be.

    `said` is its one line.
    """

    def __init__(self, folder: Path, *, uid: int | None = None) -> None:
        arguments = [str(folder)] if uid is None else [str(folder), str(uid)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.persistence.embedded.launcher", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.said: dict[str, Any] = json.loads(line) if line else {}
        self.pids: dict[str, int] = self.said.get("pids", {})

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


def running(pid: int) -> bool:
    """Whether a process runs. One that is dead and not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(pids: Iterable[int], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while left := [pid for pid in pids if running(pid)]:
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.01)


def below(pid: int) -> list[int]:
    """Return all descendants of a process."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):  # a helper that has ended meanwhile
        return []
    return [one for child in map(int, children) for one in (child, *below(child))]


def owner(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid
