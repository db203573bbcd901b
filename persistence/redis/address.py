"""Whether a text can be the address of a Redis or Valkey at all, before anything is asked of it."""

from __future__ import annotations

from urllib.parse import urlsplit

FORM = "redis://user:password@host:port/0, rediss:// for TLS, or unix:///path/of/socket?db=0"


def address_problem(url: str) -> str | None:
    """What `url` would have to be, if it is no address of a Redis; None: it is one.

    Says nothing of what is in it: there is a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # brackets that do not match, a port that is no number
        return f"must be {FORM}"
    if parts.scheme == "unix":
        return None if parts.path else "must name the path of a socket: unix:///path/of/socket"
    if parts.scheme not in {"redis", "rediss"} or port == 0:
        return f"must be {FORM}"
    number = parts.path.removeprefix("/")
    if number and not number.isdecimal():  # redis-py would take database 0, without a word
        return "what stands after the host must be the number of a database"
    return None
