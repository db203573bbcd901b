"""Child processes that end when this process ends."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from persistence.errors import EmbeddedStartFailed

_PR_SET_PDEATHSIG = 1
_LOG_BYTES = 16 * 2**20
_TAIL_BYTES = 2000
_ASK_AGAIN_S = 0.5
"""After how long a stop signal is repeated.

One that comes before a server has its handlers is lost.
"""


class ServerProcess:
    """A server as a child process, with its log and the ways to end it.

    It is started in a session of its own. So a Ctrl-C in the terminal reaches this process only,
    which stops its children after everything that needs them. The kernel sends the child
    `stop_signal` when this process ends, even by SIGKILL (prctl(2), PR_SET_PDEATHSIG). The kernel
    watches the *thread* that spawned the child, so it must be the main thread.

    Arguments:
        server: the name of the server, for errors.
        command: the program and its arguments.
        log: the file for the server's output.
        stop_signal: the signal that makes the server stop in order.
        popen: more arguments for `subprocess.Popen`.

    Raises `EmbeddedStartFailed` if it cannot be spawned.
    """

    def __init__(
        self,
        server: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        stop_signal: signal.Signals,
        popen: Mapping[str, Any] | None = None,
    ) -> None:
        require_linux(server)
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("embedded servers are started from the main thread only")
        self.server = server
        self.log = log
        self.stop_signal = stop_signal
        self._asked = False
        _rotate(log)
        log_fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._log_start = os.fstat(log_fd).st_size
        try:
            self._process = subprocess.Popen(
                [os.fspath(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log_fd,
                stderr=log_fd,
                cwd="/",  # as `nobody` it may not be able to read the present folder
                env=server_environment(),
                start_new_session=True,
                # Python calls this after the change of user, which would clear the setting.
                preexec_fn=die_with_parent(stop_signal),  # noqa: PLW1509 - one thread: the main one
                **(popen or {}),
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedStartFailed(server, str(error)) from None
        finally:
            os.close(log_fd)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while the process runs."""
        return self._process.poll()

    def tail(self) -> str:
        """Return the end of what the process has logged since it was spawned, in one line."""
        with suppress(OSError), self.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_start, size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
            return " | ".join(line.strip() for line in lines[-8:] if line.strip())
        return ""

    def failed(self, reason: str) -> EmbeddedStartFailed:
        return EmbeddedStartFailed(self.server, reason, self.tail())

    def wait_until(self, ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Block until `ready()`.

        Raises `EmbeddedStartFailed` if the process ends or takes longer.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            if not self.alive:
                raise self.failed(f"it ended with status {self.status}")
            if time.monotonic() > deadline:
                raise self.failed(f"not ready after {timeout_s:g} s")
            time.sleep(0.002)

    def ask_to_stop(self) -> None:
        """Send `stop_signal`, unless the process has ended. `wait_or_kill` then repeats it."""
        self._asked = True
        if self.alive:
            self._process.send_signal(self.stop_signal)

    def wait_or_kill(self, timeout_s: float) -> bool:
        """Wait until the process ends, and kill it after `timeout_s`.

        Return whether it ended itself.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self._process.wait(max(0.0, min(_ASK_AGAIN_S, deadline - time.monotonic())))
            except subprocess.TimeoutExpired:
                if time.monotonic() < deadline:
                    if self._asked:
                        self.ask_to_stop()
                    continue
                self._process.kill()
                self._process.wait()
                return False
            return True


def require_linux(server: str) -> None:
    """Raise `EmbeddedStartFailed` on systems whose kernel cannot end a child with its parent."""
    if not sys.platform.startswith("linux"):
        raise EmbeddedStartFailed(
            server, "embedded servers need Linux; set [redis] url and [postgres] url instead"
        )


def die_with_parent(with_signal: signal.Signals) -> Callable[[], None]:
    """Return a function for a child, between fork and exec, that has the kernel end it with this
    process.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def ask_the_kernel() -> None:
        # The signal mask is inherited. One that blocks SIGTERM would keep the child from stopping.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if libc.prctl(_PR_SET_PDEATHSIG, int(with_signal), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
        if os.getppid() != parent:  # the parent died before this setting
            os._exit(1)

    return ask_the_kernel


def server_environment() -> dict[str, str]:
    """Return a minimal environment, since PGOPTIONS or LANG must not change what a server does."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    return {**kept, "LANG": "C", "LC_ALL": "C", "TZ": "UTC"}


def end_leftovers(directory: Path, program: str, *, timeout_s: float) -> None:
    """End the processes called `program` that work in `directory`, left from a server that was
    killed.

    They are ending already, by the kernel's signal; those that are left after half of `timeout_s`
    are killed. The caller holds the directory's lock, so no other server needs them. They are found
    by /proc, because a pid file may name another program's process by now.

    Raises `EmbeddedStartFailed` if one of them does not end in time.
    """
    deadline = time.monotonic() + timeout_s / 2
    while left := list(working_in(directory, program)):
        if time.monotonic() > deadline:
            for pid in left:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline + timeout_s / 2:
                raise EmbeddedStartFailed(program, f"process {left[0]} holds {directory} and stays")
        time.sleep(0.01)


def working_in(directory: Path, program: str) -> Iterable[int]:
    """Yield the processes of this program whose working directory this is."""
    target = os.path.realpath(directory)
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError):  # the process has ended, or belongs to another user
                process = Path(entry.path)
                if (process / "comm").read_text().strip() == program and (
                    os.fspath((process / "cwd").readlink()) == target
                ):
                    yield int(entry.name)


def _rotate(log: Path) -> None:
    """Begin a new log if the old one is large, and keep the old one.

    Together they stay below 32 MiB.
    """
    with suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
