"""Writes the WebSocket frames that a server sends (RFC 6455, section 5).

A server's frames are never masked, and ours are never fragmented or compressed. So a frame is a
header of 2, 4 or 10 bytes and the payload. Frames from clients are read by
protocol/server/parser.py.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

CONT: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

NO_STATUS: Final = 1005
"""Stands for a close frame without a code. It is never on the wire (RFC 6455, section 7.4.1)."""
ABNORMAL: Final = 1006
"""Stands for the end of a connection without a close frame. It is never on the wire."""

_FIN: Final = 0x80
_HEADER_16 = Struct("!BBH").pack
_HEADER_64 = Struct("!BBQ").pack
_MAX_REASON_BYTES = 123  # a control frame holds 125 bytes, and the code takes 2


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a whole, unmasked frame with FIN set."""
    length = len(payload)
    if length < 126:
        return bytes((_FIN | opcode, length)) + payload
    if length < 65_536:
        return _HEADER_16(_FIN | opcode, 126, length) + payload
    return _HEADER_64(_FIN | opcode, 127, length) + payload


def close_frame(code: int | None, reason: str = "") -> bytes:
    """Return a close frame. `reason` is cut to fit; a `code` of None sends no code."""
    if code is None:
        return frame(CLOSE, b"")
    text = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore").encode()
    return frame(CLOSE, code.to_bytes(2, "big") + text)


def parse_close(payload: bytes) -> tuple[int, str]:
    """Return the code and reason of a peer's close frame, whose payload the parser has checked."""
    if not payload:
        return NO_STATUS, ""
    return int.from_bytes(payload[:2], "big"), payload[2:].decode()


PING_FRAME: Final = frame(PING, b"")
