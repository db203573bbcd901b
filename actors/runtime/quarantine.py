"""Which messages crash an actor again and again."""

from __future__ import annotations

from typing import Any, Final

import msgspec

CRASHES: Final = 2
"""As often may equal messages crash an actor; the next one is not tried."""
_KEPT: Final = 64


class Quarantine:
    """Counts, per message content, how often it crashed one actor; keeps the last 64 contents.

    Two messages are equal here if their types and their encoded fields are: what crashed is a
    value, and a client that sends it again sends a new object.
    """

    __slots__ = ("_crashes",)

    def __init__(self) -> None:
        self._crashes: dict[int, int] = {}

    def record(self, message: Any) -> int:
        """Count a crash; returns how many there were with an equal message."""
        mark = _fingerprint(message)
        count = self._crashes.pop(mark, 0) + 1
        self._crashes[mark] = count
        if len(self._crashes) > _KEPT:
            del self._crashes[next(iter(self._crashes))]
        return count

    def holds(self, message: Any) -> bool:
        """Whether an equal message has crashed the actor often enough."""
        return self._crashes.get(_fingerprint(message), 0) >= CRASHES


def _fingerprint(message: Any) -> int:
    try:
        content: Any = msgspec.msgpack.encode(message)
    except Exception:  # not plain data: as it prints
        try:
            content = repr(message)
        except Exception:  # not even that: its type alone
            content = None
    return hash((type(message), content))
