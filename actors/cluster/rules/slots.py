"""Slots: a hash puts each placed actor into one of them, and nodes hold slots.

So a look-up is an index into a table, thousands are claimed by one call, and the state of a cluster
is bounded, however many actors there are.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

SLOTS: Final = 16_384
"""The number of slots of a pool. With a thousand nodes each still gets sixteen."""
_BITS: Final = SLOTS.bit_length() - 1


def slot_of(kind: str, key: str, pool: int = 0) -> int:
    """Return the slot of an actor whose kind is hashed."""
    return pool << _BITS | crc32(f"{kind}/{key}".encode()) % SLOTS


def slot_of_kind(kind: str, pool: int = 0) -> int:
    """Return the slot of a kind whose actors are all in one place."""
    return pool << _BITS | crc32(kind.encode()) % SLOTS


def pool_of(slot: int) -> int:
    """Return the pool of a slot. Only nodes that host a pool hold its slots."""
    return slot >> _BITS


def slots_of_pool(pool: int) -> range:
    """Return all slots of a pool."""
    return range(pool << _BITS, (pool + 1) << _BITS)
