"""Connects to Redis or Valkey."""

from __future__ import annotations

from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from persistence.errors import StoreUnavailable
from persistence.settings import RedisSettings

STORE: Final = "redis"


def connect(settings: RedisSettings) -> redis.Redis:
    """Return a client with one connection, which opens when it is first used. It never retries.

    Raises `StoreUnavailable` if the URL is not valid.
    """
    try:
        return redis.Redis.from_url(
            settings.url,
            max_connections=1,
            socket_timeout=settings.timeout_s,
            socket_connect_timeout=settings.timeout_s,
            retry=Retry(NoBackoff(), 0),
            # Every Redis and Valkey speaks RESP2 without having to be asked for it first.
            protocol=2,
        )
    except ValueError as error:
        raise StoreUnavailable(STORE, one_line(error)) from None


def check(settings: RedisSettings) -> None:
    """Return if the store answers, else raise `StoreUnavailable`. Blocks for up to `timeout_s`."""
    client = connect(settings)
    try:
        client.ping()
    except (RedisError, OSError) as error:
        raise StoreUnavailable(STORE, one_line(error)) from None
    finally:
        client.close()


def one_line(error: BaseException) -> str:
    """Return the text of an error in one line."""
    return " ".join(str(error).split()) or type(error).__name__
