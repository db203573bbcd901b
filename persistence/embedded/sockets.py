"""The folder of the servers' sockets, in the data directory or, if paths get too long,
elsewhere.
"""

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
_ELSEWHERE = "run.elsewhere"


def socket_folder(data_dir: Path) -> Path:
    """Return where the sockets of the server in a data directory are, if one runs."""
    with suppress(OSError):
        return Path((data_dir / _ELSEWHERE).read_text())
    return data_dir / "run"


class SocketFolder:
    """A folder for sockets that no other user can open. `path` is where it is.

    Usually it is `run/` in the data directory. If a socket's path would be too long there, or if it
    has a comma, which ends a host for libpq, it is a new private folder under XDG_RUNTIME_DIR or
    /tmp. A file in the data directory names that folder, so that the next start can remove it after
    a SIGKILL.
    """

    def __init__(self, data_dir: Path) -> None:
        self._elsewhere = data_dir / _ELSEWHERE
        self._remove_elsewhere()
        self.path = data_dir / "run"
        # Sockets of a server that was killed are useless, as nothing listens on them.
        shutil.rmtree(self.path, ignore_errors=True)
        fits = len(os.fsencode(self.path)) + len(_LONGEST_NAME) <= _MAX_SOCKET_PATH
        if fits and "," not in os.fspath(self.path):
            self.path.mkdir(mode=0o711)
        else:
            parent = os.environ.get("XDG_RUNTIME_DIR") or "/tmp"  # noqa: S108 - made unguessable
            if len(os.fsencode(parent)) > 60 or not os.access(parent, os.W_OK):
                parent = "/tmp"  # noqa: S108 - as above
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            self.path.chmod(0o711)  # PostgreSQL may run as another user and must pass through
            self._elsewhere.write_text(str(self.path))

    def make(self, name: str, owner: tuple[int, int] | None) -> Path:
        """Make a folder, mode 0700, for a server that runs as `owner` (None: as this process)."""
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
            # Only a folder that a server made is removed, whatever the file says.
            if (
                folder.name.startswith(_PREFIX)
                and stat.S_ISDIR(there.st_mode)
                and there.st_uid == os.geteuid()
            ):
                shutil.rmtree(folder, ignore_errors=True)
        self._elsewhere.unlink(missing_ok=True)
