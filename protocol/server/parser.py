"""Reading a client's frames (RFC 6455, section 5): bytes in, whole messages out. Sans-I/O.

Ours, where the rest of the protocol is the `websockets` library's: its parser is a generator that
is resumed for each field and makes an object for each frame, 3.8 to 4.6 us a frame of 40 bytes
against 0.3 to 0.45 us here, which was a third of what a request cost in all. The library stays for
the handshake, and as the second opinion: tests hold both to the same messages and the same
failures, byte for byte, on every kind of frame and on random bytes.
"""

from __future__ import annotations

from typing import Final

from websockets.exceptions import ProtocolError
from websockets.frames import Close

from protocol.errors import INVALID_TEXT, PROTOCOL_ERROR, TOO_BIG, CloseCode
from protocol.frames import BINARY, CLOSE, CONT, PING, PONG, TEXT

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the compiled part: slower, and otherwise the same
    from websockets.utils import apply_mask

_FIN: Final = 0x80
_RESERVED: Final = 0x70
_OPCODE: Final = 0x0F
_MASKED: Final = 0x80
_MAX_CONTROL_BYTES: Final = 125
_OPCODES: Final = frozenset((CONT, TEXT, BINARY, CLOSE, PING, PONG))


class _BreachError(Exception):
    """The client broke the protocol: the row to close with, and what it did."""

    def __init__(self, close: CloseCode, reason: str) -> None:
        self.close = close
        self.reason = reason


class FrameReader:
    """Bytes of one client in, whole messages out.

    `feed(data)` gives `(opcode, payload)` for each message that is complete: TEXT and BINARY
    assembled from their fragments, and PING, PONG, CLOSE where they came. When the client breaks
    the protocol, the messages before the breach are still given, `failure` and `reason` say what
    to close with, and everything after is ignored; so is everything after a close frame.

    Holds at most one unfinished frame and the fragments of one message, `max_bytes` together; a
    length that is announced is refused before anything of it is kept.

    Attributes:
        fragments: frames so far that ended no message. They may be empty and without an end, so
            that no size bounds them: whoever reads has to count them, and may set it back.
    """

    __slots__ = (
        "_ended", "_max_bytes", "_opcode", "_parts", "_rest", "failure", "fragments", "reason",
    )  # fmt: skip

    def __init__(self, max_bytes: int) -> None:
        self.failure: CloseCode | None = None
        self.reason = ""
        self.fragments = 0
        self._max_bytes = max_bytes
        self._rest = b""  # of the last bytes: the beginning of a frame
        self._opcode = CONT  # of the message whose fragments are in `_parts`
        self._parts: bytearray | None = None
        self._ended = False

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take in what a read brought; never raises."""
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
        """Parse every whole frame; returns where the first that is not whole begins."""
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
                messages.append((opcode, payload))  # nearly all that ever comes
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
