"""Tells a process in the foreground of a terminal that the terminal is gone.

The kernel tells only the leader of the session. The leader is a shell as a rule, which tells its
jobs. If the leader is another program that waits for its children (`xterm -e make run`, `tmux new
'make run'`), nobody tells the server, and it would run on without anybody to stop it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from typing import Final

LOOK_EVERY_S: Final = 1.0
"""How often to look whether the process is still in the foreground."""


def watch_terminal() -> None:
    """Send the process SIGHUP when its controlling terminal is closed.

    A process in the background gets no signal: its shell decides, and may have been told to let it
    live (`disown`). A process that ignores SIGHUP (`nohup`) does not watch the terminal.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:  # there is none: a service, a container
        return
    threading.Thread(target=_watch, args=(terminal,), name="terminal", daemon=True).start()


def _watch(terminal: int) -> None:
    poll = select.poll()
    poll.register(terminal, 0)  # no input, only the hang-up, which is always reported
    foreground = True
    while True:
        # The call fails once the terminal is gone. Then the answer of the last call counts.
        with contextlib.suppress(OSError):
            foreground = os.tcgetpgrp(terminal) == os.getpgrp()
        if poll.poll(LOOK_EVERY_S * 1000):
            break
    os.close(terminal)
    if foreground:
        os.kill(os.getpid(), signal.SIGHUP)
