"""Connects to Redis or Valkey."""

from __future__ import annotations

from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from persistence.errors import StoreUnavailable
from persistence.redis.address import Many, read_many
from persistence.settings import RedisSettings

STORE: Final = "redis"
_SENTINEL_S: Final = 1.0
"""A Sentinel that does not answer for so long is passed over for the next one."""


def connect(settings: RedisSettings) -> redis.Redis:
    """Return a client with one connection, which opens when it is first used. It never retries.

    Behind Sentinels it connects to the server that is the primary at that time. A Cluster needs
    more than one connection, so there is no such client of it: see `lines.open_line`.

    Raises `StoreUnavailable` if the URL is not valid.
    """
    try:
        many = read_many(settings.url)
        if many is None:
            return redis.Redis.from_url(settings.url, **_options(settings))
        if not many.primary:
            raise StoreUnavailable(STORE, "one connection does not reach all of a Cluster")
        return _of_primary(settings, many)
    except ValueError as error:
        raise StoreUnavailable(STORE, one_line(error)) from None


def connect_to(settings: RedisSettings, many: Many, host: str, port: int) -> redis.Redis:
    """Return a client with one connection to one server of a Cluster."""
    pool = redis.ConnectionPool(host=host, port=port, **_options(settings), **many.options)
    return redis.Redis.from_pool(pool)


def _of_primary(settings: RedisSettings, many: Many) -> redis.Redis:
    options = dict(many.options)
    tls = "connection_class" in options
    options.pop("connection_class", None)
    patience_s = min(settings.timeout_s / (len(many.hosts) + 1), _SENTINEL_S)
    secure = {name: value for name, value in options.items() if name.startswith("ssl_")}
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]
        many.hosts,
        sentinel_kwargs={
            **_options(settings),
            **many.sentinel_options,
            **(secure | {"ssl": True} if tls else {}),
            "socket_timeout": patience_s,
            "socket_connect_timeout": patience_s,
        },
    )
    client: redis.Redis = sentinel.master_for(
        many.primary, **_options(settings), **options, **({"ssl": True} if tls else {})
    )
    return client


def _options(settings: RedisSettings) -> dict[str, Any]:
    return {
        "max_connections": 1,
        "socket_timeout": settings.timeout_s,
        "socket_connect_timeout": settings.timeout_s,
        "retry": Retry(NoBackoff(), 0),
        # Every Redis and Valkey speaks RESP2 without having to be asked for it first.
        "protocol": 2,
    }


def one_line(error: BaseException) -> str:
    """Return the text of an error in one line."""
    return " ".join(str(error).split()) or type(error).__name__
