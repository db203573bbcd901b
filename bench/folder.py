"""A folder for a server's data, gone afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def temporary_data() -> Iterator[Path]:
    """A folder in which embedded stores can be started."""
    with tempfile.TemporaryDirectory(
        prefix="greenroom-bench-", ignore_cleanup_errors=True
    ) as folder:
        # TemporaryDirectory is closed to others, and root's PostgreSQL runs as nobody if it can.
        Path(folder).chmod(0o711)
        yield Path(folder)
