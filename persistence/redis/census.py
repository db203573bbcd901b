"""How many slots each node holds, for people; see `persistence.redis.nodes` for nodes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import redis

from persistence.errors import StoreUnavailable
from persistence.redis.connection import STORE, connect, one_line
from persistence.redis.nodes import home
from persistence.settings import RedisSettings


def held_slots(settings: RedisSettings) -> Counter[str]:
    """Count the slots of each node id. Blocks. Raises StoreUnavailable."""
    client: Any = connect(settings)
    try:
        entries = client.hvals(f"{home(settings)}:slots")
    except redis.RedisError as error:
        raise StoreUnavailable(STORE, one_line(error)) from error
    finally:
        client.close()
    return Counter(holder for entry in entries if (holder := entry.partition(b" ")[2].decode()))
