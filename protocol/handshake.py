"""The answer to a handshake request: a pure function from its head to what is sent back.

RFC 6455 section 4.2 is checked by the sans-I/O protocol of `websockets`; here are the server's own
conditions and the words. Every refusal is a whole HTTP response that says what to do instead, for
whoever reads it is writing a client. permessage-deflate is not offered: a broadcast is framed once
for all, and messages of 100 bytes gain nothing.
"""

from __future__ import annotations

import logging
import re
from http import HTTPStatus
from typing import Final

import msgspec
from websockets.exceptions import InvalidUpgrade, NegotiationError
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from protocol.codec import ENCODINGS, Encoding
from protocol.settings import WireSettings
from protocol.upgrade import plain

HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
"""Where the head of a request ends. The library takes bare line feeds, too (RFC 9112, 2.2)."""

RETRY_AFTER_S: Final = 5

_SILENT = logging.getLogger("greenroom.handshake")
_SILENT.disabled = True  # the library logs each connection; we log our own, with who and why

_SUBPROTOCOLS = [Subprotocol(name) for name in ENCODINGS]


class Accepted(msgspec.Struct, frozen=True):
    """Send `response`; then the connection speaks `encoding`."""

    encoding: Encoding
    response: bytes


class Refused(msgspec.Struct, frozen=True):
    """Send `response` and close. `status` is its HTTP status, for counting."""

    status: int
    response: bytes


def refusal(status: HTTPStatus, text: str, *headers: tuple[str, str]) -> Refused:
    """A refusal in plain text."""
    body = f"{text}\n".encode()
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Connection: close",
        f"Content-Length: {len(body)}",
        "Content-Type: text/plain; charset=utf-8",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return Refused(status.value, "\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def too_large(settings: WireSettings) -> Refused:
    """The head did not end within `max_header_bytes`."""
    return refusal(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"The request head is longer than {settings.max_header_bytes} bytes.",
    )


def too_slow(settings: WireSettings) -> Refused:
    """The head did not come within `handshake_timeout_s`."""
    return refusal(
        HTTPStatus.REQUEST_TIMEOUT,
        f"The handshake took longer than {settings.handshake_timeout_s:g} s.",
    )


def full(*, draining: bool) -> Refused:
    """No connection is free, or none is taken any more."""
    return refusal(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The server is stopping; reconnect." if draining else "The server is full; retry later.",
        ("Retry-After", str(RETRY_AFTER_S)),
    )


def answer(head: bytes, settings: WireSettings) -> Accepted | Refused:
    """Judge one whole request head (request line and headers, up to and with the empty line)."""
    usual = plain(head, settings)
    return Accepted(*usual) if usual is not None else by_library(head, settings)


def by_library(head: bytes, settings: WireSettings) -> Accepted | Refused:
    """The same, of any head: every rule of RFC 6455, and the words of a refusal."""
    origins = [Origin(origin) for origin in settings.origins]
    protocol = ServerProtocol(
        origins=[*origins, None] if origins else None,
        subprotocols=_SUBPROTOCOLS,
        logger=_SILENT,
    )
    protocol.receive_data(head)
    events = protocol.events_received()
    if not events:
        written = b"".join(protocol.data_to_send())
        if written:  # a line too long, or too many headers: the library has the right words
            return Refused(int(written.split(b" ", 2)[1]), written)
        cause = protocol.handshake_exc and protocol.handshake_exc.__cause__
        return refusal(HTTPStatus.BAD_REQUEST, f"Not a valid HTTP/1.1 request: {cause}.")
    request = events[0]
    assert isinstance(request, Request)
    response = protocol.accept(request)
    if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        return _refused(protocol, response, settings)
    if request.path.partition("?")[0] != settings.path:
        return refusal(HTTPStatus.NOT_FOUND, f"Nothing here; {_where(settings)}")
    assert protocol.subprotocol is not None
    return Accepted(ENCODINGS[protocol.subprotocol], response.serialize())


def _refused(protocol: ServerProtocol, response: Response, settings: WireSettings) -> Refused:
    why = protocol.handshake_exc
    if isinstance(why, InvalidUpgrade):
        return refusal(
            HTTPStatus.UPGRADE_REQUIRED,
            f"This is Greenroom's WebSocket port; {_where(settings)}",
            ("Upgrade", "websocket"),
        )
    if isinstance(why, NegotiationError):
        return refusal(
            HTTPStatus.BAD_REQUEST,
            "Name a subprotocol in Sec-WebSocket-Protocol. Supported: " + ", ".join(ENCODINGS),
        )
    return Refused(response.status_code, response.serialize())


def _where(settings: WireSettings) -> str:
    return (
        f"connect to {settings.path} with a WebSocket client "
        f"and one of the subprotocols {', '.join(ENCODINGS)}."
    )
