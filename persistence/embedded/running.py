"""Finds the PostgreSQL that another process has started in a data directory."""

from __future__ import annotations

from pathlib import Path

from persistence.embedded.postgres import url_of
from persistence.embedded.sockets import socket_folder


def running_postgres_url(data_dir: Path) -> str | None:
    """Return the URL of the PostgreSQL that runs in a data directory; None: there is none yet."""
    data_dir = data_dir.absolute()
    sockets = socket_folder(data_dir) / "postgres"
    if not (sockets / ".s.PGSQL.5432").exists():
        return None
    return url_of(data_dir / "postgres.password", sockets)
