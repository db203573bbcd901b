"""Whether a process runs, of which it is known what it runs."""

from __future__ import annotations

from pathlib import Path


def is_running(pid: int) -> bool:
    """Whether a process runs or could run.

    One that is stopped, waits for a disk, or has ended, is not caught in what it has begun.
    """
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state in "RS"
