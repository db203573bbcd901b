"""How a process learns that its terminal was closed."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server_process import (
    BANNER,
    ROOT,
    alive,
    alone_in,
    descendants,
    environment,
    flags,
    wait_until_gone,
)

PROGRAM = (
    "import os, signal, sys, time\n"
    "from actors.node.terminal import watch_terminal\n"
    "signal.signal(signal.SIGHUP, signal.SIG_IGN if 'nohup' in sys.argv else signal.SIG_DFL)\n"
    "watch_terminal()\n"
    "print('watching', flush=True)\n"
    "time.sleep(60)\n"
)
# What does as `make` does: it hears of the end of its terminal, and waits for its child.
LEADER = (
    "import signal, subprocess, sys\n"
    "signal.signal(signal.SIGHUP, lambda *_: None)\n"
    "sys.exit(subprocess.run(sys.argv[1:]).returncode)\n"
)
BACKGROUND = (
    "import signal, subprocess, sys\n"
    "signal.signal(signal.SIGHUP, lambda *_: None)\n"
    "sys.exit(subprocess.run(sys.argv[1:], process_group=0).returncode)\n"
)


class Terminal:
    """A terminal with a program in it, which leads its session."""

    def __init__(self, *arguments: str) -> None:
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(ROOT)
                os.execve(arguments[0], arguments, environment())
            finally:
                os._exit(127)
        self.said = b""
        self._open = True

    def until(self, word: bytes, timeout_s: float = 60) -> list[str]:
        """Read until `word` has been printed; returns all lines so far."""
        deadline = time.monotonic() + timeout_s
        while word not in self.said and (left_s := deadline - time.monotonic()) > 0:
            if select.select([self._master], [], [], left_s)[0]:
                self.said += os.read(self._master, 65_536)
        assert word in self.said, self.said
        return self.said.decode().splitlines()

    def close(self) -> None:
        if self._open:
            self._open = False
            os.close(self._master)

    def end(self) -> None:
        for pid in {self.pid, *descendants(self.pid)}:
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.kill(pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.close()


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.end()


def started(terminals: list[Terminal], leader: str, *more: str) -> tuple[Terminal, set[int]]:
    terminal = Terminal(sys.executable, "-c", leader, sys.executable, "-c", PROGRAM, *more)
    terminals.append(terminal)
    terminal.until(b"watching")
    return terminal, descendants(terminal.pid)


def test_who_is_in_the_foreground_is_told_though_the_leader_tells_nobody(
    terminals: list[Terminal],
) -> None:
    terminal, watching = started(terminals, LEADER)
    assert watching
    terminal.close()
    assert wait_until_gone(watching) == set()


@pytest.mark.parametrize(("leader", "more"), [(BACKGROUND, []), (LEADER, ["nohup"])])
def test_who_is_in_the_background_or_under_nohup_lives_on(
    leader: str, more: list[str], terminals: list[Terminal]
) -> None:
    terminal, watching = started(terminals, leader, *more)
    other, told = started(terminals, LEADER)
    terminal.close()
    other.close()
    assert wait_until_gone(told) == set()  # by now it would have ended, too
    assert alive(watching) == watching


def test_without_a_terminal_nothing_is_watched() -> None:
    program = (
        "import threading\n"
        "from actors.node.terminal import watch_terminal\n"
        "watch_terminal()\n"
        "print(threading.active_count())"
    )
    out = subprocess.check_output(
        [sys.executable, "-c", program], cwd=ROOT, text=True, start_new_session=True
    )
    assert out == "1\n"


def test_a_server_that_make_started_in_a_terminal_of_its_own_ends_with_it(
    terminals: list[Terminal], tmp_path: Path
) -> None:
    """`xterm -e make run`, `tmux new 'make run'`."""
    makefile = tmp_path / "Makefile"
    sets = " ".join(flags(*alone_in(tmp_path / "data")))
    makefile.write_text(f"run:\n\t@exec {sys.executable} server.py serve {sets}\n", "utf-8")
    terminal = Terminal("/usr/bin/make", "-f", str(makefile), "run")
    terminals.append(terminal)
    lines = terminal.until(b"is up: clients at")
    assert any(BANNER.match(line) for line in lines), lines
    family = descendants(terminal.pid)
    assert len(family) >= 3
    terminal.close()
    assert wait_until_gone(family) == set()  # make ends with it, or by the signal itself
