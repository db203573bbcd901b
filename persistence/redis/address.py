"""The address of a Redis or Valkey: one server, one behind Sentinels, or a Cluster.

Checks whether a text can be one, and reads it, without connecting.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from redis.connection import parse_url

FORM: Final = (
    "redis://user:password@host:port/0, rediss:// for TLS, unix:///path/of/socket?db=0,"
    " redis+sentinel://user:password@host:26379,host:26379/name-of-the-primary/0"
    " or redis+cluster://user:password@host:6379,host:6379"
)
SENTINEL: Final = "+sentinel"
CLUSTER: Final = "+cluster"
_PORTS: Final = {SENTINEL: 26379, CLUSTER: 6379}


class Many(NamedTuple):
    """An address that names several servers.

    Attributes:
        hosts: the Sentinels, or some servers of the Cluster.
        primary: the name by which the Sentinels know the primary; "": this is a Cluster.
        options: what redis-py's connections to a Redis are made with: password, database, TLS.
        sentinel_options: the same for connections to Sentinels: `sentinel_username` and
            `sentinel_password` in the address's query.
    """

    hosts: tuple[tuple[str, int], ...]
    primary: str
    options: dict[str, Any]
    sentinel_options: dict[str, Any]


def address_problem(url: str) -> str | None:
    """Return what is wrong with `url` as the address of a Redis, or None if it can be one.

    The text does not repeat anything of the url, which may hold a password.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme.endswith((SENTINEL, CLUSTER)):
            read_many(url)
            return None
        port = parts.port
    except _AddressError as error:
        return str(error)
    except ValueError:  # brackets that do not match, a port that is no number
        return f"must be {FORM}"
    number = parts.path.removeprefix("/")
    problem = None
    if parts.scheme == "unix":
        if not parts.path:
            problem = "must name the path of a socket: unix:///path/of/socket"
    elif parts.scheme not in {"redis", "rediss"} or port == 0:
        problem = f"must be {FORM}"
    elif number and not number.isdecimal():  # redis-py would silently use database 0
        problem = "what stands after the host must be the number of a database"
    return problem


def read_many(url: str) -> Many | None:
    """Read an address with several servers; None: it names one server.

    Raises ValueError, whose text repeats nothing of the url.
    """
    parts = urlsplit(url)
    scheme, plus, _ = parts.scheme.partition("+")
    kind = parts.scheme.removeprefix(scheme)
    if not plus:
        return None
    if scheme not in {"redis", "rediss"} or kind not in _PORTS:
        raise _AddressError(f"must be {FORM}")
    login, at, named = parts.netloc.rpartition("@")
    hosts = tuple(_host(each, _PORTS[kind]) for each in named.split(","))
    primary, _, number = parts.path.removeprefix("/").partition("/")
    if kind == CLUSTER:
        primary, number = "", primary
        if number not in {"", "0"}:
            raise _AddressError("a Cluster has no databases: nothing may stand after the hosts")
    elif not primary:
        raise _AddressError("the name of the primary must stand after the Sentinels")
    if number and not number.isdecimal():
        raise _AddressError("what stands after the name of the primary must be a database's number")
    query = dict(parse_qsl(parts.query))
    sentinel_options: dict[str, Any] = {
        name: query.pop(f"sentinel_{name}")
        for name in ("username", "password")
        if f"sentinel_{name}" in query
    }
    one = f"{scheme}://{login}{at}host/{number}?{urlencode(query)}"
    options: dict[str, Any] = {**parse_url(one)}  # type: ignore[no-untyped-call]
    options.pop("host", None)
    return Many(hosts, unquote(primary), options, sentinel_options)


class _AddressError(ValueError):
    """What is wrong with an address, in words that do not repeat it."""


def _host(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.port == 0:
        raise _AddressError(f"must be {FORM}")
    return parts.hostname, parts.port or port
