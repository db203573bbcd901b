"""Child processes that never outlive this one."""

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
"""A signal that comes between fork and exec, or before a server has its handlers, is lost."""


class ServerProcess:
    """A server process: its program, its log, and the ways to end it.

    Started in a session of its own, so that Ctrl-C in the terminal reaches this process alone and
    the children are stopped after what needs them. The kernel sends it `stop_signal` when this
    process dies, even by SIGKILL (prctl(2), PR_SET_PDEATHSIG). That follows the *thread* that
    spawned it, hence: main thread only.
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
                cwd="/",  # as nobody it might not even be allowed to know another one's name
                env=server_environment(),
                start_new_session=True,
                # Set after the change of user, which would clear it.
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
        """Its exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def tail(self) -> str:
        """The end of what this process has logged since it was spawned, in one line."""
        with suppress(OSError), self.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_start, size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
            return " | ".join(line.strip() for line in lines[-8:] if line.strip())
        return ""

    def failed(self, reason: str) -> EmbeddedStartFailed:
        return EmbeddedStartFailed(self.server, reason, self.tail())

    def wait_until(self, ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Block until `ready`. Raises `EmbeddedStartFailed` if it ends first or takes longer."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if not self.alive:
                raise self.failed(f"it ended with status {self.status}")
            if time.monotonic() > deadline:
                raise self.failed(f"not ready after {timeout_s:g} s")
            time.sleep(0.002)

    def ask_to_stop(self) -> None:
        """Send `stop_signal`, unless it has ended; `wait_or_kill` then repeats it."""
        self._asked = True
        if self.alive:
            self._process.send_signal(self.stop_signal)

    def wait_or_kill(self, timeout_s: float) -> bool:
        """Wait for its end; after `timeout_s` kill it. Returns whether it ended by itself."""
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
    """Raises `EmbeddedStartFailed` where the kernel cannot tie a child's life to ours."""
    if not sys.platform.startswith("linux"):
        raise EmbeddedStartFailed(
            server, "embedded servers need Linux; set [redis] url and [postgres] url instead"
        )


def die_with_parent(with_signal: signal.Signals) -> Callable[[], None]:
    """What a child does between fork and exec so that the kernel ends it after this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def ask_the_kernel() -> None:
        # A mask is inherited: one that holds back SIGTERM would make the child deaf to all this.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if libc.prctl(_PR_SET_PDEATHSIG, int(with_signal), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
        if os.getppid() != parent:  # it died before the kernel knew
            os._exit(1)

    return ask_the_kernel


def server_environment() -> dict[str, str]:
    """As little as will do: a stray PGOPTIONS or LANG must not change what a server does."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    return {**kept, "LANG": "C", "LC_ALL": "C", "TZ": "UTC"}


def end_leftovers(directory: Path, program: str, *, timeout_s: float) -> None:
    """End processes called `program` that work in `directory`: those of a server that was killed.

    They are on their way out already, by the kernel's signal; what is not gone after half of
    `timeout_s` is killed. The caller holds the directory's lock, so none of them has an owner.
    Asking /proc for who is there needs no pid file, which may name a stranger by now.
    """
    deadline = time.monotonic() + timeout_s / 2
    while left := list(_working_in(directory, program)):
        if time.monotonic() > deadline:
            for pid in left:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline + timeout_s / 2:
                raise EmbeddedStartFailed(program, f"process {left[0]} holds {directory} and stays")
        time.sleep(0.01)


def _working_in(directory: Path, program: str) -> Iterable[int]:
    target = os.path.realpath(directory)
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError):  # it ended meanwhile, or is somebody else's
                process = Path(entry.path)
                if (process / "comm").read_text().strip() == program and (
                    os.fspath((process / "cwd").readlink()) == target
                ):
                    yield int(entry.name)


def _rotate(log: Path) -> None:
    """Keep one older log beside a new one, so that logs stay below 32 MiB between them."""
    with suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
