"""What a server process uses, read from outside: memory, files, sockets, threads, children."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from pathlib import Path

import msgspec

from tests.server_process import Server, descendants

PARKED_WORKERS = 32
"""At most so many trio tasks are kept parked by the runtime, for the next async handlers."""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Vitals(msgspec.Struct, frozen=True):
    """What one server process used at one time."""

    rss_mib: float
    threads: int
    children: int
    tasks: int
    """Trio's tasks."""
    files: dict[str, int]
    """Open descriptors by kind: socket, pipe, anon_inode, or the path."""


def rss_mib(pid: int) -> float:
    """Resident memory of a process, without its children; 0 once it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * PAGE_BYTES / 2**20


def rest(server: Server, within_s: float = 15.0) -> Vitals:
    """Return the vitals of a server once it is connected to each of its stores. Blocks.

    The connections need not be there yet when the server says that it is up.
    """
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if server.get("/readyz")[0] == 200:  # it asks each store
            break
        time.sleep(0.02)
    return look(server)


def all_up(server: Server, within_s: float = 60.0) -> Vitals:
    """Return once all nodes of a server are ready, without measuring the parent. Blocks."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and '"degraded":false' not in server.get("/readyz")[1]:
        time.sleep(0.1)
    return Vitals(rss_mib=0, threads=0, children=0, tasks=0, files=Counter())


def look(server: Server) -> Vitals:
    """Return the vitals of a server now. Blocks, because it reads the metrics."""
    pid = server.process.pid
    tasks = int(server.metric("greenroom_tasks"))
    return Vitals(
        rss_mib=rss_mib(pid),
        threads=len(list(Path(f"/proc/{pid}/task").iterdir())),
        children=len(descendants(pid)),
        tasks=tasks,
        files=dict(_files(pid)),
    )


def _files(pid: int) -> Counter[str]:
    found: Counter[str] = Counter()
    sockets = _sockets(pid)
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:  # closed meanwhile
            continue
        if (socket := re.fullmatch(r"socket:\[(\d+)\]", target)) is not None:
            found[sockets.get(socket[1], "socket")] += 1
        else:
            found[re.sub(r":\[?\w*\]?$", "", target)] += 1
    return found


def _sockets(pid: int) -> dict[str, str]:
    """Inode -> what kind of socket it is, as far as /proc says."""
    found: dict[str, str] = {}
    for line in Path(f"/proc/{pid}/net/tcp").read_text("ascii").splitlines()[1:]:
        fields = line.split()
        found[fields[9]] = f"TCP socket in state {fields[3]}"  # 01 established, 08 close wait
    for line in Path(f"/proc/{pid}/net/unix").read_text("utf-8").splitlines()[1:]:
        fields = line.split()
        found[fields[6]] = f"unix socket in state {fields[5]}"  # 03 connected
    return found


def leaks(before: Vitals, after: Vitals) -> list[str]:
    """Return what a server uses more of than before it had clients, once they have gone."""
    found = [
        f"{name}: {old} before, {new} after"
        for name, old, new, spare in (
            ("threads", before.threads, after.threads, 0),
            ("children", before.children, after.children, 0),
            ("tasks", before.tasks, after.tasks, PARKED_WORKERS),
        )
        if new > old + spare
    ]
    for kind, new in after.files.items():
        old = before.files.get(kind, 0)
        if new > old:
            found.append(f"descriptors of {kind}: {old} before, {new} after")
    return found
