"""The interface through which a connection passes requests to the layer above the wire."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from protocol.errors import CloseCode, RequestError
from protocol.messages import AnyRequest


class Handler(Protocol):
    """Takes the requests of one connection. All methods are plain calls."""

    def received(self, request: AnyRequest) -> Awaitable[None] | None:
        """Take a decoded, valid request.

        Returns None, or an awaitable if the receiver is full. The connection awaits it before it
        reads on, so that TCP holds the client back.
        """

    def undecodable(self, error: RequestError, ref: int | None) -> None:
        """Take a message that is no valid request; the usual answer is `Connection.refuse`."""

    def shed(self, error: RequestError, count: int, size_bytes: int) -> None:
        """Note that `count` requests, `size_bytes` long together, were refused with `error`.

        They came behind a request for which `Connection.shed` was called.
        """

    def fragments(self, count: int) -> None:
        """Note `count` frames that ended no message.

        It is called before the messages of the same read are handled.
        """

    def disconnected(self, close: CloseCode | int, reason: str) -> None:
        """Note that the connection has ended. It is the last call, and comes exactly once.

        `close` is our row of the table of closes, or the client's code: 1005 for a close frame
        without a code, 1006 for no close frame. `reason` is a text for logs.
        """
