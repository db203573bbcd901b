"""WebSocket frames (RFC 6455, section 5): those we send, and a reader for those we receive.

The server's frames are never masked, fragmented or compressed, so writing one is a header of 2, 4
or 10 bytes. Reading is the sans-I/O parser of `websockets`, behind `FrameReader`: bytes in, whole
messages out, and it writes nothing by itself. The connection answers pings and closes, so that its
outbox is the one place that orders what leaves.
"""

from __future__ import annotations

import logging
from struct import Struct
from typing import Final

from websockets.frames import Close, Frame
from websockets.protocol import SERVER, Protocol

from protocol.errors import CLOSES, PROTOCOL_ERROR, CloseCode

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

SILENT: Final = logging.getLogger("greenroom.frames")
SILENT.disabled = True  # the library logs each connection; we log our own, with who and why


class FrameReader:
    """Bytes of one client in, whole messages out. Sans-I/O.

    `feed(data)` gives `(opcode, payload)` for each message that is complete: TEXT and BINARY
    assembled from their fragments, and PING, PONG, CLOSE where they came. When the client breaks
    the protocol, the messages before the breach are still given, `failure` and `reason` say what
    it was, and everything after is ignored. After a CLOSE everything is ignored, too.

    `max_bytes` bounds a message, however many fragments it is sent in; what is buffered between
    two calls is never more than that, a header, and one read.
    """

    __slots__ = ("_opcode", "_parts", "_protocol", "failure", "reason")

    def __init__(self, max_bytes: int) -> None:
        self._protocol = Protocol(SERVER, max_size=max_bytes, logger=SILENT)
        self._parts: bytearray | None = None
        self._opcode = 0
        self.failure: CloseCode | None = None
        self.reason = ""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        protocol = self._protocol
        if protocol.reader.eof or self.failure is not None:
            return []
        protocol.receive_data(data)
        protocol.writes.clear()  # its pongs and its close echo: the connection sends its own
        messages: list[tuple[int, bytes]] = []
        for event in protocol.events_received():
            assert isinstance(event, Frame)
            opcode = event.opcode
            payload = bytes(event.data)
            if opcode >= CLOSE or (event.fin and opcode != CONT):
                messages.append((int(opcode), payload))
            elif opcode != CONT:
                self._opcode = int(opcode)
                self._parts = bytearray(payload)
            else:
                assert self._parts is not None
                self._parts += payload
                if event.fin:
                    messages.append((self._opcode, bytes(self._parts)))
                    self._parts = None
        if protocol.parser_exc is not None:
            self._fail()
        return messages

    def _fail(self) -> None:
        sent = self._protocol.close_sent
        code = PROTOCOL_ERROR.code if sent is None else int(sent.code)
        self.failure = CLOSES.get(code, PROTOCOL_ERROR)
        self.reason = "" if sent is None else sent.reason
        self._parts = None
