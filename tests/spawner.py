"""Starts servers many times for the price of importing one once.

A process of its own imports the server, and forks itself for each one that a test starts. Imports
take most of the CPU time of a start, and the suite has some hundreds of starts. What runs in the
fork is the same script or module that `python ...` would run, with arguments, environment, folder
and streams of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

ROOT: Final = Path(__file__).parent.parent
_REQUEST_BYTES: Final = 1024 * 1024


class SpawnedProcess:
    """A server in a fork of the spawner, with the methods of a `subprocess.Popen` that tests use.

    Arguments:
        arguments: of `python`: a script or `-m` and a module, and what is for them.
        cwd: the folder to run in.
        env: all of its environment.
        stdout, stderr: file descriptors to write to. They stay the caller's.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdout: int,
        stderr: int,
    ) -> None:
        self.args = ["python", *arguments]
        self.returncode: int | None = None
        self._status, status = os.pipe()
        request = json.dumps([list(arguments), str(cwd), dict(env)]).encode()
        with _one_at_a_time:
            spawner = _spawner()
            socket.send_fds(spawner, [request], [stdout, stderr, status])
            self.pid = int(spawner.recv(64))
        os.close(status)

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._ended_within(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code. Raises `subprocess.TimeoutExpired`."""
        code = self._ended_within(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _ended_within(self, timeout: float | None) -> int | None:
        if self.returncode is None and self._is_over(timeout):
            told = os.read(self._status, 64)
            os.close(self._status)
            self.returncode = int(told) if told else -signal.SIGKILL  # the spawner is gone, too
        return self.returncode

    def _is_over(self, timeout: float | None) -> bool:
        poll = select.poll()  # select takes no descriptor above 1,023
        poll.register(self._status, select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))

    def send_signal(self, signum: int) -> None:
        """Send a signal to it, if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, signum)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


_one_at_a_time = threading.Lock()


@functools.cache
def _spawner() -> socket.socket:
    """The connection to this process's spawner, which is started when it is first needed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.spawner", str(theirs.fileno())],
            cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _serve(tests: socket.socket) -> None:
    """Fork for each request, and tell the end of each fork, until the tests have ended."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for pytest, which ends the servers
    statuses: dict[int, int] = {}
    while True:
        readable = select.select([tests.fileno(), woken], [], [])[0]
        if woken in readable:
            os.read(woken, 4096)
            while statuses and (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, code = ended
                status = statuses.pop(pid)
                os.write(status, str(os.waitstatus_to_exitcode(code)).encode())
                os.close(status)
        if tests.fileno() in readable:
            request, fds, _, _ = socket.recv_fds(tests, _REQUEST_BYTES, 3)
            if not request:
                return
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                tests.close()
                for fd in (woken, wake, *statuses.values(), fds[2]):
                    os.close(fd)
                _become(*json.loads(request), stdout=fds[0], stderr=fds[1])
            for fd in fds[:2]:
                os.close(fd)
            statuses[pid] = fds[2]
            tests.send(str(pid).encode())


def _become(
    arguments: list[str], cwd: str, env: dict[str, str], *, stdout: int, stderr: int
) -> NoReturn:
    """Be `python ...`, with nothing of ours but what is imported."""
    for fd, number in ((stdout, 1), (stderr, 2)):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.orig_argv = [sys.executable, *arguments]
    if arguments[0] == "-m":
        sys.path[0] = cwd
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(arguments[0]).parent)
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
    sys.exit()


def _import_all() -> None:
    """Import what a server imports at its start."""
    import server

    importlib.import_module("actors.node.commands")
    for service in server.SERVICES:
        importlib.import_module(service.partition(":")[0])


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as given:
        given.set_inheritable(False)
        _import_all()
        _serve(given)
