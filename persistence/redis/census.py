"""How many slots each node holds, for people; see `persistence.redis.nodes` for nodes."""

from __future__ import annotations

from collections import Counter

from redis.exceptions import RedisError

from persistence.errors import StoreUnavailable
from persistence.redis.connection import STORE, one_line
from persistence.redis.lines import open_line
from persistence.redis.nodes import home
from persistence.settings import RedisSettings


def held_slots(settings: RedisSettings) -> Counter[str]:
    """Count the slots of each node id. Blocks. Raises StoreUnavailable."""
    line = open_line(settings)
    try:
        (entries,) = line.execute(("HVALS", f"{home(settings)}:slots"))
        if isinstance(entries, Exception):
            raise entries
    except (RedisError, OSError) as error:
        raise StoreUnavailable(STORE, one_line(error)) from None
    finally:
        line.close()
    return Counter(holder for entry in entries if (holder := entry.partition(b" ")[2].decode()))
