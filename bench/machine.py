"""What a report says about the machine and the versions, read from the operating system."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from bench.child import ROOT

PACKAGES = ("trio", "msgspec", "websockets", "pykka", "picows", "uvloop", "trio-websocket")


def about() -> dict[str, str]:
    """Return the machine's parts and the versions: name -> text."""
    found = {
        "greenroom": commit(),
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": cpu(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory_bytes() / 2**30:.1f} GiB",
        "kernel": platform.release(),
        "python": sys.version.split()[0],
    }
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def commit() -> str:
    """Return the commit of this tree, with `-dirty` if files differ from it."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=10"],
            cwd=ROOT, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "not a git tree"
    return done.stdout.strip()


def cpu() -> str:
    """Return the processor's name."""
    found = re.search(
        r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE
    )
    return found[1] if found else platform.machine()


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and its present children so far (sched(7))."""
    ran_ns = 0
    children: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        for thread in Path(f"/proc/{pid}/task").iterdir():
            ran_ns += int((thread / "schedstat").read_text("ascii").split()[0])
            children += map(int, (thread / "children").read_text("ascii").split())
    return ran_ns / 1e9 + sum(cpu_s(child) for child in children)


def memory_bytes(what: str = "MemTotal") -> int:
    """Return a line of /proc/meminfo in bytes; 0 if there is none of that name."""
    text = Path("/proc/meminfo").read_text("ascii")
    found = re.search(rf"^{what}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
