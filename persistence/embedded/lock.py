"""The lock of a data directory, so that one process uses it at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from persistence.errors import DataDirLocked, EmbeddedStartFailed


class DataDirLock:
    """Holds the directory `path` for this process until `release`, or until the process ends.

    It is an advisory flock. The kernel drops that when the process ends, for whatever reason, so a
    stale lock cannot remain. The lock file stays, because two processes could lock two files of the
    same name if it were removed. The directory is made if it is missing.

    Raises `DataDirLocked` if another process holds it, and `EmbeddedStartFailed` if the directory
    cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # As root, the user that PostgreSQL runs as must be able to pass through the directory,
            # but not to list it. The files in it are private by modes of their own.
            path.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
            self._fd = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            # If there is a file of that name, mkdir only says that it exists.
            why = "not a directory" if isinstance(error, FileExistsError) else error.strerror
            raise EmbeddedStartFailed("stores", f"data directory {path}: {why}") from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(self._fd, 32).strip()
            os.close(self._fd)
            raise DataDirLocked(path, int(pid) if pid.isdigit() else None) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Release the directory."""
        os.ftruncate(self._fd, 0)
        os.close(self._fd)
