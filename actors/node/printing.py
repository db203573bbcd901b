"""Prints a line without waiting for whoever reads it; and lines up the cells of tables."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import TextIO

import structlog

from actors.node.log_writer import descriptor, write_all

log = structlog.get_logger("actors.node.printing")


def say(stream: TextIO | None, line: str, *, wait_s: float = 0.0) -> None:
    """Print a line, and wait up to `wait_s` until it is written.

    A thread of its own writes the line, since a stream that is full, closed, or a pipe that nobody
    reads must not stop the server. A line that cannot be written is logged.
    """
    fd = descriptor(stream)
    if fd is None:
        return

    def write() -> None:
        try:
            write_all(fd, f"{line}\n".encode(errors="backslashreplace"))
        except OSError as error:
            log.warning("cannot print", fd=fd, error=str(error), line=line)

    # A daemon thread, since one that hangs in a write must not keep the process alive.
    writer = threading.Thread(target=write, name="say", daemon=True)
    writer.start()
    writer.join(wait_s)


def aligned(cells: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield lines whose cells begin below each other."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        yield "  ".join(map(str.ljust, line, widths)).rstrip()
