"""Reading a client's frames (RFC 6455, section 5): bytes in, whole messages out. Sans-I/O.

The parser of the `websockets` library is a generator that is resumed for each field and makes an
object for each frame. It takes 3.8 to 4.6 us for a frame of 40 bytes, which was a third of the cost
of a request; this parser takes 0.3 to 0.45 us. The library still does the handshake, and checks
this parser: tests compare the messages and the failures of both, byte for byte, on every kind of
frame and on random bytes.
"""

from __future__ import annotations

from typing import Final

from websockets.exceptions import ProtocolError
from websockets.frames import Close

from protocol.errors import INVALID_TEXT, PROTOCOL_ERROR, TOO_BIG, CloseCode
from protocol.frames import BINARY, CLOSE, CONT, PING, PONG, TEXT

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the compiled part; this one is slower
    from websockets.utils import apply_mask

_FIN: Final = 0x80
_RESERVED: Final = 0x70
_OPCODE: Final = 0x0F
_MASKED: Final = 0x80
_MAX_CONTROL_BYTES: Final = 125
_OPCODES: Final = frozenset((CONT, TEXT, BINARY, CLOSE, PING, PONG))


class _BreachError(Exception):
    """The client broke the protocol. It has the row to close with, and the reason."""

    def __init__(self, close: CloseCode, reason: str) -> None:
        self.close = close
        self.reason = reason


class FrameReader:
    """Finds the messages in the bytes of one client.

    `feed(data)` returns `(opcode, payload)` for each complete message: TEXT and BINARY assembled
    from their fragments, and PING, PONG, CLOSE in their place. If the client breaks the protocol,
    the messages before the breach are still returned, `failure` and `reason` say how to close the
    connection, and all further bytes are ignored. Bytes after a close frame are ignored as well.

    It holds at most one unfinished frame and the fragments of one message, `max_bytes` together. A
    frame that announces more is refused before its payload is kept.

    Attributes:
        failure: the row to close with; None: the client has not broken the protocol.
        reason: how the client broke the protocol.
        fragments: how many frames have ended no message. Empty fragments have no size that limits
            them, so the reader has to count them; it may set the number back to 0.
    """

    __slots__ = (
        "_ended", "_max_bytes", "_opcode", "_parts", "_rest", "failure", "fragments", "reason",
    )  # fmt: skip

    def __init__(self, max_bytes: int) -> None:
        self.failure: CloseCode | None = None
        self.reason = ""
        self.fragments = 0
        self._max_bytes = max_bytes
        self._rest = b""  # the beginning of a frame, from the last read
        self._opcode = CONT  # the opcode of the message whose fragments are in `_parts`
        self._parts: bytearray | None = None
        self._ended = False

    @property
    def kept_bytes(self) -> int:
        """How many bytes of messages that are not complete it keeps."""
        return len(self._rest) + len(self._parts or b"")

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take the bytes of a read, and return the complete messages. Never raises."""
        messages: list[tuple[int, bytes]] = []
        if self._ended:
            return messages
        if self._rest:
            data = self._rest + data
            self._rest = b""
        try:
            end = self._frames(data, messages)
        except _BreachError as breach:
            self.failure = breach.close
            self.reason = breach.reason
            self._end()
        else:
            self._rest = data[end:]
        return messages

    def _frames(self, data: bytes, messages: list[tuple[int, bytes]]) -> int:
        """Parse every whole frame; returns the place of the first one that is not whole."""
        start = 0
        size = len(data)
        while size - start >= 2:
            head = data[start]
            opcode = head & _OPCODE
            length = data[start + 1] - _MASKED
            if length < 0 or opcode not in _OPCODES:
                what = "incorrect masking" if opcode in _OPCODES else "invalid opcode"
                raise _BreachError(PROTOCOL_ERROR, what)
            mask = start + 2
            if length > _MAX_CONTROL_BYTES:
                mask += 2 if length == 126 else 8
                if mask > size:
                    return start
                length = int.from_bytes(data[start + 2 : mask])
            held = self._parts
            if length > self._max_bytes - (0 if held is None else len(held)):
                raise _BreachError(TOO_BIG, f"over {self._max_bytes} bytes")
            begin = mask + 4
            end = begin + length
            if end > size:
                return start
            payload = apply_mask(data[begin:end], data[mask:begin])
            start = end
            if held is None and head == _FIN | opcode and CONT < opcode < CLOSE:
                messages.append((opcode, payload))  # the usual case
            elif head & _RESERVED:
                raise _BreachError(PROTOCOL_ERROR, "reserved bits must be 0")
            elif opcode < CLOSE:
                self._fragment(head, opcode, payload, messages)
            else:
                self._control(head, opcode, payload)
                messages.append((opcode, payload))
                if self._ended:
                    break
        return start

    def _fragment(
        self, head: int, opcode: int, payload: bytes, messages: list[tuple[int, bytes]]
    ) -> None:
        if opcode != CONT:
            if self._parts is not None:
                raise _BreachError(PROTOCOL_ERROR, "expected a continuation frame")
            self._opcode = opcode
            self._parts = bytearray(payload)
            self.fragments += 1
        elif self._parts is None:
            raise _BreachError(PROTOCOL_ERROR, "unexpected continuation frame")
        else:
            self._parts += payload
            if head & _FIN:
                messages.append((self._opcode, bytes(self._parts)))
                self._parts = None
            else:
                self.fragments += 1

    def _control(self, head: int, opcode: int, payload: bytes) -> None:
        if len(payload) > _MAX_CONTROL_BYTES:
            raise _BreachError(PROTOCOL_ERROR, "control frame too long")
        if not head & _FIN:
            raise _BreachError(PROTOCOL_ERROR, "fragmented control frame")
        if opcode == CLOSE:
            try:
                Close.parse(payload)
            except ProtocolError as error:
                raise _BreachError(PROTOCOL_ERROR, str(error)) from None
            except UnicodeDecodeError as error:
                raise _BreachError(
                    INVALID_TEXT, f"{error.reason} at position {error.start}"
                ) from None
            if self._parts is not None:
                raise _BreachError(PROTOCOL_ERROR, "incomplete fragmented message")
            self._end()

    def _end(self) -> None:
        self._ended = True
        self._parts = None
