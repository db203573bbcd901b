"""Checks whether a text can be the address of a Redis or Valkey, without connecting to it."""

from __future__ import annotations

from urllib.parse import urlsplit

FORM = "redis://user:password@host:port/0, rediss:// for TLS, or unix:///path/of/socket?db=0"


def address_problem(url: str) -> str | None:
    """Return what is wrong with `url` as the address of a Redis, or None if it can be one.

    The text does not repeat anything of the url, which may hold a password.
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
    if number and not number.isdecimal():  # redis-py would silently use database 0
        return "what stands after the host must be the number of a database"
    return None
