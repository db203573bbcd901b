"""The WebSocket frames that we send (RFC 6455, section 5). Those we receive:
protocol/server/parser.py.

A server's frames are never masked, and ours never fragmented or compressed, so writing one is a
header of 2, 4 or 10 bytes.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from websockets.frames import Close

CONT: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

NO_STATUS: Final = 1005
"""The peer's close frame bore no code. Never on the wire (RFC 6455, section 7.4.1)."""
ABNORMAL: Final = 1006
"""The connection ended without a close frame. Never on the wire."""

_FIN: Final = 0x80
_HEADER_16 = Struct("!BBH").pack
_HEADER_64 = Struct("!BBQ").pack
_MAX_REASON_BYTES = 123  # a control frame's 125 less the code's 2


def frame(opcode: int, payload: bytes) -> bytes:
    """One whole unmasked frame with FIN, as a server sends it."""
    length = len(payload)
    if length < 126:
        return bytes((_FIN | opcode, length)) + payload
    if length < 65_536:
        return _HEADER_16(_FIN | opcode, 126, length) + payload
    return _HEADER_64(_FIN | opcode, 127, length) + payload


def close_frame(code: int | None, reason: str = "") -> bytes:
    """A close frame; `reason` is cut to what a control frame holds, `None` sends no code."""
    if code is None:
        return frame(CLOSE, b"")
    text = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore").encode()
    return frame(CLOSE, code.to_bytes(2, "big") + text)


def parse_close(payload: bytes) -> tuple[int, str]:
    """The code and reason of a peer's close frame that a `FrameReader` has let pass."""
    if not payload:
        return NO_STATUS, ""
    close = Close.parse(payload)
    return int(close.code), close.reason


PING_FRAME: Final = frame(PING, b"")
