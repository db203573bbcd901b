"""The frame parser of the `websockets` library with the interface of ours: a second opinion."""

from __future__ import annotations

import logging
from typing import Final

from websockets.frames import Frame
from websockets.protocol import SERVER, Protocol

from protocol.errors import CLOSES, PROTOCOL_ERROR, CloseCode
from protocol.frames import CLOSE, CONT

SILENT: Final = logging.getLogger("greenroom.frames")
SILENT.disabled = True  # the library logs each connection; we log our own, with who and why


class LibraryReader:
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
