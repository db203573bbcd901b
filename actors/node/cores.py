"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

CPU_MAX: Final = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds of CPU time in each period, and the period: the limit of a container (cgroup v2)."""


def usable_cores() -> int:
    """Return how many cores this process may use.

    A container with a limit may run on all cores of its machine, but not at the same time.
    """
    cores = len(os.sched_getaffinity(0))
    try:
        return limited(cores, CPU_MAX.read_text(encoding="ascii"))
    except OSError:  # no container, or one of an older system
        return cores


def limited(cores: int, cpu_max: str) -> int:
    """Return how many of `cores` a limit leaves, rounded up, and 1 at least.

    Arguments:
        cores: those that the process may run on.
        cpu_max: the text of `CPU_MAX`; "max" as its first word is no limit.
    """
    quota, _, period = cpu_max.strip().partition(" ")
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return cores
    return max(1, min(cores, math.ceil(int(quota) / int(period))))
