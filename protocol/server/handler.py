"""What the layer above the wire gives for each connection."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from protocol.errors import CloseCode, RequestError
from protocol.messages import AnyRequest


class Handler(Protocol):
    """What the layer above gives for each connection. All are plain calls."""

    def received(self, request: AnyRequest) -> Awaitable[None] | None:
        """A request, decoded and valid. None: taken. An awaitable: the receiver is full; it is
        awaited before more is read, so that TCP holds the client back.
        """

    def undecodable(self, error: RequestError, ref: int | None) -> None:
        """A message that is no request. Usually answered with `Connection.refuse`."""

    def shed(self, error: RequestError, count: int, size_bytes: int) -> None:
        """`Connection.shed` was called for a request, and `count` requests behind it, of
        `size_bytes` together, were refused by the same `error`.
        """

    def fragments(self, count: int) -> None:
        """`count` frames came that ended no message. Called before the messages of the same read
        are handled.
        """

    def disconnected(self, close: CloseCode | int, reason: str) -> None:
        """The connection has ended; called exactly once, and nothing is called after it.

        `close` is the row we closed with, or the client's code, 1005 for a close frame without
        one, 1006 for none at all. `reason` is what is known about it, for logs.
        """
