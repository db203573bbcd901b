"""Requests of one read that a server with too much to do refuses together."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from protocol.codec import Encoding
from protocol.errors import RequestError


class Shed:
    """The requests of one read that are refused for one reason, and answered in one message.

    The first has been looked at like any other. Of those behind it only op and ref are read (0.3 us
    each, where to decode and check a request takes 0.8), and nothing is encoded for them: all get
    the answer of the first, so that the client has one message to read in place of fifty. Those
    without a ref are refused like the others, and nobody asked to be told.

    Args:
        error: the answer.
        ops: of requests that may be refused so.
        ref: of the first; None: it has none.

    Attributes:
        refs: of all of them that have one.
        behind: how many there are behind the first.
        size_bytes: of these together.
    """

    __slots__ = ("_ops", "behind", "error", "refs", "size_bytes")

    def __init__(self, error: RequestError, ops: AbstractSet[str], ref: int | None) -> None:
        self.error = error
        self.refs = [] if ref is None else [ref]
        self.behind = 0
        self.size_bytes = 0
        self._ops = ops

    def takes(self, encoding: Encoding, payload: bytes) -> bool:
        """Whether a message is refused along with the others; if not, it is to be looked at."""
        op, ref = encoding.peek(payload)
        if op not in self._ops:
            return False
        if ref is not None:
            self.refs.append(ref)
        self.behind += 1
        self.size_bytes += len(payload)
        return True
