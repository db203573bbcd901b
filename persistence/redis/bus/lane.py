"""What waits for one node: filled in the event loop, emptied by the sender's thread."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from persistence.settings import BusSettings

_BESIDE: Final = 64
"""What a message takes in memory beside its bytes."""


class Lane:
    """A bounded queue of messages for one node, and the numbers of the entries they leave in.

    One thread puts in and another one takes out. Each counts for itself, so neither needs a lock.

    Arguments:
        me: the id of the sending node.
        node: the id of the receiving node.
    """

    __slots__ = (
        "_encoded_me",
        "_put",
        "_settings",
        "_taken",
        "_waiting",
        "called",
        "called_s",
        "closed",
        "congested",
        "entries",
        "gathering",
        "more",
        "node",
        "number",
        "under_way",
        "under_way_bytes",
    )  # fmt: skip

    def __init__(self, me: str, node: str, settings: BusSettings) -> None:
        self.node = node
        self.called = False
        """The sender has been told that something waits and has not looked since."""
        self.called_s = -math.inf
        """When the sender was last told so."""
        self.gathering = False
        """Messages wait for others, and a timer runs that will tell the sender of them."""
        self.closed = False
        """The node is gone: what waits is let go, and its stream with it."""
        self.congested = False  # the sender's: the stream is full
        self.more = False  # the sender's: something waits behind the entry under way
        self.number = 0  # the sender's: of the last entry
        self.under_way = b""  # the sender's: the entry whose arrival in the stream is not known
        self.under_way_bytes = 0
        self.entries = 0  # that have arrived there
        self._settings = settings
        self._encoded_me = _string(me)
        self._waiting: deque[bytes] = deque()
        self._put = 0
        self._taken = 0

    @property
    def waiting_bytes(self) -> int:
        """How much waits or is under way."""
        return self._put - self._taken

    def full(self) -> bool:
        return self._put - self._taken >= self._settings.queue_bytes

    def enqueue(self, message: bytes) -> None:
        """Add a message, which is one value of msgpack, past any bound."""
        self._put += len(message) + _BESIDE
        self._waiting.append(message)

    # --- the sender's ----------------------------------------------------------------------------

    def has_work(self) -> bool:
        return bool(self._waiting or self.under_way)

    def next_entry(self) -> bytes:
        """Return the entry to send: the one under way, until `arrived` is called; else a new one.

        An entry is the list [sender, number, [message, ...]] in msgpack.
        """
        if not self.under_way:
            self.number += 1
            self.under_way = self._make_entry()
        return self.under_way

    def _make_entry(self) -> bytes:
        waiting, limit = self._waiting, self._settings.entry_bytes
        messages: list[bytes] = []
        size = 0
        while waiting and (not messages or size + len(waiting[0]) <= limit):
            message = waiting.popleft()
            size += len(message)
            messages.append(message)
        self.more = bool(waiting)
        self.under_way_bytes = size + _BESIDE * len(messages)
        head = b"\x93%b\xcf%b\xdd%b" % (
            self._encoded_me, self.number.to_bytes(8, "big"), len(messages).to_bytes(4, "big"),
        )  # fmt: skip
        return b"".join((head, *messages))

    def arrived(self) -> None:
        """The entry is in the stream."""
        self._taken += self.under_way_bytes
        self.under_way = b""
        self.entries += 1

    def clear(self) -> None:
        """Let go of all that waits."""
        self._waiting.clear()
        self.under_way = b""
        self._taken = self._put


def _string(text: str) -> bytes:
    data = text.encode()
    return b"\xda" + len(data).to_bytes(2, "big") + data
