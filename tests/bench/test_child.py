"""What the bench learns about a process, and what it does to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.child import ChildServer, check_realtime, each_thread, make_realtime
from bench.family import count_files
from bench.stage import Waits, confined


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that uses all of a core."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_real_time_priority_is_given_or_it_is_said_why_not(busy: subprocess.Popen[bytes]) -> None:
    try:
        os.sched_setscheduler(busy.pid, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        with pytest.raises(RuntimeError, match="CAP_SYS_NICE"):
            check_realtime()
        return
    os.sched_setscheduler(busy.pid, os.SCHED_OTHER, os.sched_param(0))
    check_realtime()
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
    busy.send_signal(signal.SIGSTOP)  # or all others would have to wait for it
    make_realtime(busy.pid)
    assert os.sched_getscheduler(busy.pid) == os.SCHED_RR


def test_a_thread_that_ends_meanwhile_is_passed_over() -> None:
    ends = threading.Event()
    thread = threading.Thread(target=ends.wait)
    thread.start()
    pinned: list[int] = []

    def pin(number: int) -> None:
        if number == thread.native_id:
            ends.set()
            while Path(f"/proc/self/task/{number}").exists():
                thread.join()
        os.sched_setaffinity(number, os.sched_getaffinity(0))
        pinned.append(number)

    each_thread(os.getpid(), pin)
    assert os.getpid() in pinned
    assert thread.native_id not in pinned


def test_what_others_take_from_a_process_is_seen(busy: subprocess.Popen[bytes]) -> None:
    core = {min(os.sched_getaffinity(0))}
    os.sched_setaffinity(busy.pid, core)
    waits = Waits([busy.pid])
    with confined(core):
        assert os.sched_getaffinity(0) == core
        until = time.process_time() + 0.2
        while time.process_time() < until:
            pass
    waits.look()
    assert os.sched_getaffinity(0) >= core
    assert 100 < waits.most_ms <= 1001
    assert waits.percent([busy.pid]) == pytest.approx(waits.most_ms / 10)


def test_count_files_are_counted(tmp_path: Path) -> None:
    listing = Path("/proc/self/fd")
    before = count_files(listing)
    files = [(tmp_path / f"{number}").open("w") for number in range(50)]
    assert count_files(listing) - before == 50
    for file in files:
        file.close()


def test_a_server_that_cannot_be_pinned_is_stopped(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    code = (
        f"import os, pathlib, time; pathlib.Path({str(told)!r}).write_text(str(os.getpid()));"
        " print('ws://nowhere', flush=True); time.sleep(600)"
    )
    with pytest.raises(OSError, match="Invalid argument"):
        ChildServer(["-c", code], core=1023)
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)
