"""Searches everything that a server's stores hold for words: every table, every key."""

from __future__ import annotations

from typing import Any

import psycopg
import redis
from psycopg import sql

from persistence import PostgresSettings, RedisSettings


def holding(
    words: str, postgres: PostgresSettings, redis_settings: RedisSettings
) -> dict[str, int]:
    """Return the tables and kinds of keys that hold the words, each with the number of them."""
    found: dict[str, int] = {}
    with psycopg.connect(postgres.url) as connection:
        named = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
        tables = [name for (name,) in connection.execute(named, (postgres.schema,))]
        assert "events" in tables
        for table in tables:
            rows = connection.execute(
                sql.SQL("SELECT * FROM {}").format(sql.Identifier(postgres.schema, table))
            )
            if count := sum(any(_has(value, words) for value in row) for row in rows):
                found[table] = count
    with redis.Redis.from_url(redis_settings.url) as client:
        for key in client.scan_iter(f"{redis_settings.prefix}*"):
            value = client.get(key) if client.type(key) == b"string" else client.hgetall(key)
            if _has(value, words) or _has(key, words):
                name = key.decode().removeprefix(redis_settings.prefix).rpartition(":")[0]
                found[name] = found.get(name, 0) + 1
    return found


def _has(value: Any, words: str) -> bool:
    if isinstance(value, bytes):
        return words.encode() in value
    return words in str(value)
