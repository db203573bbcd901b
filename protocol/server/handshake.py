"""The answer to a handshake request: a pure function from the request's head to the response.

The sans-I/O protocol of `websockets` checks RFC 6455, section 4.2. This module adds the server's
own conditions and the texts of refusals. Every refusal is a whole HTTP response that says what to
do instead, because its reader is writing a client. permessage-deflate is not offered: a broadcast
is framed once for all clients, and messages of 100 bytes gain nothing.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
from http import HTTPStatus
from typing import Final

import msgspec
from websockets.exceptions import InvalidHeader, InvalidUpgrade, NegotiationError
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from protocol.codec import ENCODINGS, Encoding
from protocol.server.origin import canonical, is_own
from protocol.server.settings import WireSettings
from protocol.server.upgrade import usual_upgrade

HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
"""The end of a request's head. The library accepts bare line feeds as well (RFC 9112, 2.2)."""

RETRY_AFTER_S: Final = 5

_VERSION: Final = re.compile(rb"\S+ \S+ HTTP/([0-9]+(?:\.[0-9]+)?)\r?")
_HEADER: Final = re.compile(rb"([-!#$%&'*+.^_`|~0-9A-Za-z]+):[\t\x20-\x7e\x80-\xff]*\r?")
_LOOKED_AT: Final = re.compile(
    rb"host|origin|connection|upgrade|sec-websocket-.*|content-length|transfer-encoding",
    re.IGNORECASE,
)
"""The headers that a handshake depends on. The library does not get the others, because its limits
to the length and number of lines are lower than `max_header_bytes` may allow."""

_SILENT = logging.getLogger("greenroom.handshake")
_SILENT.disabled = True  # the library logs each connection, and the gateway does so with more

_SUBPROTOCOLS = [Subprotocol(name) for name in ENCODINGS]


class Accepted(msgspec.Struct, frozen=True):
    """Send `response`; then the connection speaks `encoding`."""

    encoding: Encoding
    response: bytes


class HandshakeRefused(msgspec.Struct, frozen=True):
    """Send `response` and close. `status` is its HTTP status, for counting."""

    status: int
    response: bytes


def refusal(status: HTTPStatus, text: str, *headers: tuple[str, str]) -> HandshakeRefused:
    """Return a refusal in plain text."""
    body = f"{text}\n".encode()
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Connection: close",
        f"Content-Length: {len(body)}",
        "Content-Type: text/plain; charset=utf-8",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return HandshakeRefused(status.value, "\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def too_large(begun: bytes, settings: WireSettings) -> HandshakeRefused:
    """Refuse a head longer than `max_header_bytes`; `begun` is its beginning."""
    if b"\n" not in begun[: settings.max_header_bytes]:
        return refusal(
            HTTPStatus.REQUEST_URI_TOO_LONG,
            f"The first line of the request is longer than {settings.max_header_bytes} bytes.",
        )
    return refusal(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"The request head is longer than {settings.max_header_bytes} bytes.",
    )


def head_too_slow(settings: WireSettings) -> HandshakeRefused:
    """Refuse a head that did not come within `handshake_timeout_s`."""
    return refusal(
        HTTPStatus.REQUEST_TIMEOUT,
        f"The handshake took longer than {settings.handshake_timeout_s:g} s.",
    )


def full(*, draining: bool) -> HandshakeRefused:
    """Refuse because the server is full, or `draining`."""
    return refusal(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The server is stopping; reconnect." if draining else "The server is full; retry later.",
        ("Retry-After", str(RETRY_AFTER_S)),
    )


def too_many(again_s: float) -> HandshakeRefused:
    """Refuse an address that has too many connections, or has opened them too fast."""
    return refusal(
        HTTPStatus.TOO_MANY_REQUESTS,
        "Too many connections come from this address; retry later.",
        ("Retry-After", str(math.ceil(again_s))),
    )


def answer(head: bytes, settings: WireSettings) -> Accepted | HandshakeRefused:
    """Answer a whole head: request line and headers, the empty line included."""
    usual = usual_upgrade(head, settings)
    return Accepted(*usual) if usual is not None else by_library(head, settings)


def by_library(head: bytes, settings: WireSettings) -> Accepted | HandshakeRefused:
    """Answer any head with the library, which checks every rule of RFC 6455."""
    version = _VERSION.fullmatch(head.partition(b"\n")[0])
    if version is not None and version[1] not in {b"1.1", b"1.0"}:  # the library knows these two
        return refusal(
            HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "A WebSocket handshake is an HTTP/1.1 request."
        )
    origins = [Origin(origin) for origin in settings.origins]
    protocol = ServerProtocol(
        origins=[*origins, None] if origins else None,
        subprotocols=_SUBPROTOCOLS,
        logger=_SILENT,
    )
    protocol.receive_data(_what_matters(head))
    events = protocol.events_received()
    if not events:
        written = b"".join(protocol.data_to_send())
        if written:  # the library's own refusal: a line too long, or too many headers
            return HandshakeRefused(int(written.split(b" ", 2)[1]), written)
        cause = protocol.handshake_exc and protocol.handshake_exc.__cause__
        return refusal(HTTPStatus.BAD_REQUEST, f"Not a valid HTTP/1.1 request: {cause}.")
    request = events[0]
    assert isinstance(request, Request)
    return _judged(protocol, request, settings)


def _judged(
    protocol: ServerProtocol, request: Request, settings: WireSettings
) -> Accepted | HandshakeRefused:
    if len(request.headers.get_all("Host")) != 1:  # RFC 9112, section 3.2
        return refusal(HTTPStatus.BAD_REQUEST, "A request has exactly one Host header.")
    origin = _write_as_browsers_do(request)
    if origin is not None and is_own(origin, request.headers["Host"], settings.origins):
        protocol.origins = [Origin(origin)]
    response = protocol.accept(request)
    if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        return _refused(protocol, response, settings)
    if request.path.partition("?")[0] != settings.path:
        return refusal(HTTPStatus.NOT_FOUND, f"Nothing here; {_where(settings)}")
    assert protocol.subprotocol is not None
    return Accepted(ENCODINGS[protocol.subprotocol], response.serialize())


def _refused(
    protocol: ServerProtocol, response: Response, settings: WireSettings
) -> HandshakeRefused:
    why = protocol.handshake_exc
    if isinstance(why, InvalidUpgrade):
        return refusal(
            HTTPStatus.UPGRADE_REQUIRED,
            f"This is Greenroom's WebSocket port; {_where(settings)}",
            ("Upgrade", "websocket"),
        )
    if isinstance(why, InvalidHeader) and why.name == "Sec-WebSocket-Version":
        return refusal(
            HTTPStatus.UPGRADE_REQUIRED,
            "Name version 13 of WebSocket in Sec-WebSocket-Version.",
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),  # RFC 6455, section 4.2.2
        )
    if isinstance(why, NegotiationError):
        return refusal(
            HTTPStatus.BAD_REQUEST,
            "Name a subprotocol in Sec-WebSocket-Protocol. Supported: " + ", ".join(ENCODINGS),
        )
    return HandshakeRefused(response.status_code, response.serialize())


def _what_matters(head: bytes) -> bytes:
    """Return a head without well-formed headers that no handshake depends on, such as cookies."""
    first, *lines = head.split(b"\n")
    kept = [first]
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None or _LOOKED_AT.fullmatch(header[1]):
            kept.append(line)
    return b"\n".join(kept)


def _write_as_browsers_do(request: Request) -> str | None:
    """Rewrite the one origin of a request, and return it."""
    origin = request.headers.get_all("Origin")
    if len(origin) == 1:
        with contextlib.suppress(ValueError):
            written = canonical(origin[0])
            del request.headers["Origin"]  # else the header would be there twice
            request.headers["Origin"] = written
            return written
    return None


def _where(settings: WireSettings) -> str:
    return (
        f"connect to {settings.path} with a WebSocket client "
        f"and one of the subprotocols {', '.join(ENCODINGS)}."
    )
