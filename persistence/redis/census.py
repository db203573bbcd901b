"""How many slots each node holds, to show to people.

Nodes themselves use `persistence.redis.nodes`.
"""

from __future__ import annotations

from collections import Counter

from persistence.redis.lines import ask_once
from persistence.redis.nodes import home
from persistence.settings import RedisSettings


def held_slots(settings: RedisSettings) -> Counter[str]:
    """Count the slots of each node id. Blocks. Raises StoreUnavailable."""
    entries = ask_once(settings, ("HVALS", f"{home(settings)}:slots"))
    return Counter(holder for entry in entries if (holder := entry.partition(b" ")[2].decode()))
