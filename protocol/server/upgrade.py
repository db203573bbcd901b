"""A fast path for the usual handshake request.

The library takes 47 us for a request in a loop and 110 us in a busy server, which was a fifth of a
join; this module takes 6 us. It only accepts. A request that is wrong, unusual or merely rare (a
header twice, a longer Connection) is left to the library, which has the words for a refusal. Tests
check that both give the same answers.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from typing import Final

from protocol.codec import ENCODINGS, Encoding
from protocol.server.origin import is_own
from protocol.server.settings import WireSettings

_MAX_BYTES: Final = 4096
_HEAD: Final = re.compile(
    rb"GET (/[\x21-\x7e]*) HTTP/1\.1\r\n"
    rb"((?:[-!#$%&'*+.^_`|~0-9A-Za-z]+:[\x20-\x7e]*\r\n){1,64})\r\n"
)
_KEY: Final = re.compile(rb"[+/0-9A-Za-z]{21}[AQgw]==")
_OFFERED: Final = re.compile(rb"[-.0-9A-Za-z]+(?:, [-.0-9A-Za-z]+)*")
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_CONNECTIONS: Final = frozenset((b"upgrade", b"keep-alive, upgrade", b"upgrade, keep-alive"))
_FOR_THE_LIBRARY: Final = (b"content-length", b"transfer-encoding")

_BY_NAME: Final = {name.encode(): encoding for name, encoding in ENCODINGS.items()}


def usual_upgrade(head: bytes, settings: WireSettings) -> tuple[Encoding, bytes] | None:
    """Return the encoding and the response for a usual, valid request; None: ask the library."""
    match = _HEAD.fullmatch(head) if len(head) <= _MAX_BYTES else None
    if match is None:
        return None
    target, text = match.groups()
    lines = text[:-2].split(b"\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)
    }
    if len(headers) < len(lines) or not headers.keys().isdisjoint(_FOR_THE_LIBRARY):
        return None
    key = headers.get(b"sec-websocket-key", b"")
    origin = headers.get(b"origin")
    if (
        target.partition(b"?")[0] != settings.path.encode()
        or headers.get(b"upgrade", b"").lower() != b"websocket"
        or headers.get(b"connection", b"").lower() not in _CONNECTIONS
        or headers.get(b"sec-websocket-version") != b"13"
        or not headers.get(b"host")
        or not _KEY.fullmatch(key)
        or not _lets_in(settings.origins, origin, headers.get(b"host", b""))
    ):
        return None
    protocols = headers.get(b"sec-websocket-protocol", b"")
    offered = protocols.split(b", ") if _OFFERED.fullmatch(protocols) else ()
    chosen = next((name for name in _BY_NAME if name in offered), None)  # in our order
    if chosen is None:
        return None
    digest = hashlib.sha1(key + _GUID, usedforsecurity=False).digest()
    accept = binascii.b2a_base64(digest, newline=False)
    return _BY_NAME[chosen], (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\nSec-WebSocket-Protocol: %b\r\n\r\n" % (accept, chosen)
    )


def _lets_in(origins: tuple[str, ...], origin: bytes | None, host: bytes) -> bool:
    if not origins or origin is None:
        return True
    page = origin.decode()
    return page in origins or is_own(page, host.decode(), origins)
