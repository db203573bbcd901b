"""Checks whether a text can be PostgreSQL's address, without connecting."""

from __future__ import annotations

import psycopg
from psycopg.conninfo import conninfo_to_dict

FORM = "postgresql://user:password@host:port/database, or key=value pairs as libpq takes them"


def address_problem(url: str) -> str | None:
    """Return what is wrong with `url` as the address of a PostgreSQL; None: it can be one.

    The text repeats nothing of `url`, which may hold a password.
    """
    try:
        parts = conninfo_to_dict(url)
    except (psycopg.Error, ValueError):
        return f"must be {FORM}"
    ports = str(parts.get("port", "")).split(",")  # one a host
    if not all(port == "" or (port.isdecimal() and 0 < int(port) < 65_536) for port in ports):
        return "its port must be a number from 1 up to 65,535"
    return None
