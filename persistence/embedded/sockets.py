"""Where the servers' sockets live: in the data directory if their paths fit, else elsewhere."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

# sockaddr_un holds 108 bytes, a NUL included (unix(7)).
_MAX_SOCKET_PATH = 107
_LONGEST_NAME = "/postgres/.s.PGSQL.5432"
_PREFIX = "greenroom-"


class SocketFolder:
    """A folder for sockets that no other user can open; `path` says where it came to be.

    Usually `run/` in the data directory. If that makes a path too long for a socket, or one with a
    comma (to libpq, the end of a host), a fresh private folder under XDG_RUNTIME_DIR or /tmp.
    A file in the data directory remembers that, so that the next start removes it after a SIGKILL.
    """

    def __init__(self, data_dir: Path) -> None:
        self._elsewhere = data_dir / "run.elsewhere"
        self._remove_elsewhere()
        self.path = data_dir / "run"
        # Sockets of a server that was killed are void: nobody listens.
        shutil.rmtree(self.path, ignore_errors=True)
        fits = len(os.fsencode(self.path)) + len(_LONGEST_NAME) <= _MAX_SOCKET_PATH
        if fits and "," not in os.fspath(self.path):
            self.path.mkdir(mode=0o711)
        else:
            parent = os.environ.get("XDG_RUNTIME_DIR") or "/tmp"  # noqa: S108 - made unguessable
            if len(os.fsencode(parent)) > 60 or not os.access(parent, os.W_OK):
                parent = "/tmp"  # noqa: S108 - as above
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            self.path.chmod(0o711)  # PostgreSQL may have to pass as another user
            self._elsewhere.write_text(str(self.path))

    def make(self, name: str, owner: tuple[int, int] | None) -> Path:
        """A folder in it, mode 0700, for one server that runs as `owner` (None: as we do)."""
        folder = self.path / name
        folder.mkdir(mode=0o700)
        if owner is not None:
            os.chown(folder, *owner)
        return folder

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self._remove_elsewhere()

    def _remove_elsewhere(self) -> None:
        with suppress(OSError):
            folder = Path(self._elsewhere.read_text())
            there = folder.lstat()
            # Nothing but a folder of our own making is ever removed, whatever the file says.
            if (
                folder.name.startswith(_PREFIX)
                and stat.S_ISDIR(there.st_mode)
                and there.st_uid == os.geteuid()
            ):
                shutil.rmtree(folder, ignore_errors=True)
        self._elsewhere.unlink(missing_ok=True)
