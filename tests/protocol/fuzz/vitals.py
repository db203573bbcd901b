"""The state of a server process, seen from outside: memory, threads, files, and what it logged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.server_process import Server

MIB = 2**20


class Vitals(NamedTuple):
    """One look at a process."""

    rss_bytes: int
    threads: int
    files: int


def look(pid: int) -> Vitals:
    """Look at a process. Raises OSError: it is gone."""
    folder = Path(f"/proc/{pid}")
    fields = dict(
        line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line
    )
    files = sum(1 for _ in (folder / "fd").iterdir())
    return Vitals(int(fields["VmRSS"].split()[0]) * 1024, int(fields["Threads"]), files)


def complaints(server: Server) -> tuple[list[str], Counter[str]]:
    """Return the errors that the server logged, and its warnings by event."""
    errors = [line for line in server.err if not line.startswith("{")]
    warnings: Counter[str] = Counter()
    for event in server.events():
        if event.get("level") in ("error", "critical") or "exception" in event:
            errors.append(str(event)[:2000])
        elif event.get("level") == "warning":
            warnings[str(event.get("event"))] += 1
    return errors, warnings


def numbers(values: Sequence[float]) -> dict[str, Any]:
    """Return p50, p99 and maximum, in milliseconds."""
    line = sorted(values) or [0.0]
    return {
        "p50": round(line[len(line) // 2] * 1000, 1),
        "p99": round(line[len(line) * 99 // 100] * 1000, 1),
        "max": round(line[-1] * 1000, 1),
    }
