"""One owner for a data directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from persistence.errors import DataDirLocked, EmbeddedStartFailed


class DataDirLock:
    """Holds `path` for this process from construction until `release`, or until the process dies.

    An advisory flock, which the kernel drops with the process however that ends, so nothing stale
    is left to clear away. The file stays: removing it would let two processes lock two files of
    one name. Makes the directory if it is missing, but changes nothing about its parents.
    Raises `DataDirLocked`, or `EmbeddedStartFailed` if the directory cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # As root the directory may be passed through, though not listed, by the user that
            # PostgreSQL runs as; what is in it is private by its own modes.
            path.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
            self._fd = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            # What mkdir says of a file in its place is that it exists.
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
        """Let go of the directory."""
        os.ftruncate(self._fd, 0)
        os.close(self._fd)
