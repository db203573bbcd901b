"""The embedded Valkey."""

from __future__ import annotations

import os
import secrets
import signal
from pathlib import Path
from urllib.parse import quote

import redis

from persistence.embedded.binaries import valkey_server
from persistence.embedded.server_process import ServerProcess, end_leftovers
from persistence.embedded.sockets import SocketFolder
from persistence.settings import EmbeddedSettings

NAME = "Valkey"


class EmbeddedValkey:
    """An embedded Valkey, on a unix socket, with a password and an append-only file.

    The file is synced to disk once a second. Losing a second of snapshots is no harm, since
    PostgreSQL has the events. `start` spawns the server, and `wait` blocks until it has loaded its
    data. Both raise `EmbeddedStartFailed`.
    """

    name = NAME

    def __init__(self, data_dir: Path, sockets: SocketFolder, settings: EmbeddedSettings) -> None:
        self._settings = settings
        self._program = valkey_server()
        self._folder = data_dir / "valkey"
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._conf = data_dir / "valkey.conf"
        self._log = data_dir / "valkey.log"
        self._socket = sockets.make("valkey", None) / "valkey.sock"
        self._password = secrets.token_urlsafe(32)
        self.child: ServerProcess | None = None

    @property
    def url(self) -> str:
        return f"unix://:{self._password}@{quote(os.fspath(self._socket))}?db=0"

    def start(self) -> None:
        # Valkey does not notice another one on the same folder, and both would write the same file.
        end_leftovers(self._folder, self._program.name, timeout_s=self._settings.stop_timeout_s)
        self._socket.unlink(missing_ok=True)
        self._write_conf()
        self.child = ServerProcess(
            NAME, [self._program, self._conf], log=self._log, stop_signal=signal.SIGTERM
        )

    def wait(self) -> None:
        assert self.child is not None
        self.child.wait_until(self._ready, timeout_s=self._settings.start_timeout_s)

    def _ready(self) -> bool:
        assert self.child is not None
        if not self._socket.exists():
            return False
        client = redis.Redis(
            unix_socket_path=os.fspath(self._socket), password=self._password, protocol=2
        )
        try:
            info = client.info()
        except redis.ConnectionError:
            return False
        finally:
            client.close()
        if info["process_id"] != self.child.pid:
            raise self.child.failed(f"process {info['process_id']} answers in its place")
        return bool(info["loading"] == 0)

    def _write_conf(self) -> None:
        lines = {
            "port": "0",
            "unixsocket": _quoted(self._socket),
            "unixsocketperm": "700",
            "requirepass": _quoted(self._password),
            "dir": _quoted(self._folder),
            "daemonize": "no",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory-policy": "noeviction",
            # Whoever needs a replica or a memory limit sets the URL of a Valkey of their own.
            "loglevel": "notice",
        }
        # The file is made anew, private from its first byte, because it holds the password.
        self._conf.unlink(missing_ok=True)
        fd = os.open(self._conf, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.writelines(f"{key} {value}\n" for key, value in lines.items())


def _quoted(value: str | Path) -> str:
    text = os.fspath(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'
