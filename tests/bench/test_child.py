"""What the bench sees of a process, and does to it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench.child import make_realtime, waited_s


def test_a_process_is_at_real_time_priority_or_we_are_told_why_not() -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        try:
            os.sched_setscheduler(sleeper.pid, os.SCHED_FIFO, os.sched_param(1))
        except PermissionError:
            with pytest.raises(RuntimeError, match="root"):
                make_realtime(sleeper.pid)
        else:
            os.sched_setscheduler(sleeper.pid, os.SCHED_OTHER, os.sched_param(0))
            make_realtime(sleeper.pid)
            assert os.sched_getscheduler(sleeper.pid) == os.SCHED_FIFO
        assert 0 <= waited_s(sleeper.pid) < 60
    finally:
        sleeper.communicate(b"\n")
