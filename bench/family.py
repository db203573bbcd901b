"""The processes of a server: it or the parent of its nodes, these nodes, and its stores."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
STORES: Final = {
    "postgres": "PostgreSQL",
    "valkey-server": "Valkey",
    "redis-server": "Redis",
}
"""The name of a store's program -> what it is called in reports."""


class ProcessUsage(NamedTuple):
    """What processes have used: CPU seconds since their start, resident bytes now."""

    cpu_s: float = 0.0
    kernel_s: float = 0.0
    """The part of `cpu_s` that was spent in system calls."""
    rss_bytes: int = 0
    """What processes share is counted for each of them."""
    files: int = 0
    """Open file descriptors."""


class Family(NamedTuple):
    """The ids of a server's processes.

    Attributes:
        server: of the server, which is the parent of the nodes if there are several.
        nodes: of the processes that it has started and that are no stores, in the order of ids.
        stores: what a store is called -> its processes.
    """

    server: int
    nodes: list[int]
    stores: dict[str, list[int]]

    @property
    def working(self) -> list[int]:
        """All but the stores."""
        return [self.server, *self.nodes]

    def parts(self) -> dict[str, ProcessUsage]:
        """Return what each part has used: `server`, or `parent` and `node 1`..., and the stores."""
        found = {"parent" if self.nodes else "server": usage_of(self.server)}
        for number, pid in enumerate(self.nodes, 1):
            found[f"node {number}"] = usage_of(pid)
        for name, pids in self.stores.items():
            found[name] = total(map(usage_of, pids))
        return found


def family(pid: int) -> Family:
    """Return the processes that a server consists of now."""
    nodes: list[int] = []
    stores: dict[str, list[int]] = {}
    for child in children(pid):
        store = STORES.get(_program(child))
        if store is None:
            nodes.append(child)
        else:
            stores.setdefault(store, []).extend([child, *children(child)])
    return Family(pid, sorted(nodes), stores)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that have not ended."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (thread / "children").read_text("ascii").split())
    return found


def usage_of(pid: int) -> ProcessUsage:
    """Return what a process itself has used; nothing if it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
        files = count_files(Path(f"/proc/{pid}/fd"))
    except (FileNotFoundError, ProcessLookupError):
        return ProcessUsage()
    fields = stat.rpartition(")")[2].split()
    # Fields 14, 15 and 24 of proc(5); three stand before the cut.
    user, kernel = int(fields[11]), int(fields[12])
    return ProcessUsage(
        cpu_s=(user + kernel) / TICKS_A_SECOND,
        kernel_s=kernel / TICKS_A_SECOND,
        rss_bytes=int(fields[21]) * os.sysconf("SC_PAGE_SIZE"),
        files=files,
    )


def total(used: Iterable[ProcessUsage]) -> ProcessUsage:
    """Return the sum."""
    cpu_s = kernel_s = 0.0
    rss_bytes = files = 0
    for one in used:
        cpu_s += one.cpu_s
        kernel_s += one.kernel_s
        rss_bytes += one.rss_bytes
        files += one.files
    return ProcessUsage(cpu_s, kernel_s, rss_bytes, files)


def count_files(listing: Path) -> int:
    """Return how many files a process has open, given its `/proc/PID/fd`.

    Since Linux 6.2 the size of the folder says so (proc(5)). Listing 10,000 files instead takes 20
    ms, during which the process cannot use its own files. Once a second, that pause was the p99.9
    of the latencies that were to be measured.
    """
    return listing.stat().st_size or sum(1 for _ in listing.iterdir())


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text("ascii").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
