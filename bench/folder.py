"""A temporary folder for a server's data."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def temporary_data() -> Iterator[Path]:
    """Make a folder in which embedded stores can run; remove it afterwards."""
    with tempfile.TemporaryDirectory(
        prefix="greenroom-bench-", ignore_cleanup_errors=True
    ) as folder:
        # Under root, PostgreSQL runs as `nobody` where it can, who may not enter the folder as
        # made.
        Path(folder).chmod(0o711)
        yield Path(folder)
