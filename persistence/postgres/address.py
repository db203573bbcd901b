"""Whether a text can be PostgreSQL's address at all, before anything is asked of it."""

from __future__ import annotations

import psycopg
from psycopg.conninfo import conninfo_to_dict

FORM = "postgresql://user:password@host:port/database, or key=value pairs as libpq takes them"


def address_problem(url: str) -> str | None:
    """What `url` would have to be, if it is no address of a PostgreSQL; None: it is one.

    Says nothing of what is in it: there is a password.
    """
    try:
        parts = conninfo_to_dict(url)
    except (psycopg.Error, ValueError):
        return f"must be {FORM}"
    ports = str(parts.get("port", "")).split(",")  # one a host
    if not all(port == "" or (port.isdecimal() and 0 < int(port) < 65_536) for port in ports):
        return "its port must be a number from 1 up to 65,535"
    return None
