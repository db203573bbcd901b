"""A client's reading of the server's bytes, strict, and by other decoders than ours."""

from __future__ import annotations

import json
from typing import Any

import msgpack

from protocol.errors import CLOSES, ERRORS, SERVER_ERROR, SESSION_FAILED
from protocol.messages import EVERY_OP
from tests.protocol.fuzz import frames
from tests.protocol.fuzz.tally import Tally

_OPS = frozenset(("ok", "error", *EVERY_OP.pushes))
_FAULTS = frozenset((SERVER_ERROR.code, SESSION_FAILED.code))


class Judge:
    """Reads one connection.

    `feed` returns what came, and notes as violations what must never come.
    """

    def __init__(self, tally: Tally, *, json_text: bool) -> None:
        self.closed: int | None = None
        """The code of the server's close frame; 1005: the frame had no code."""
        self.may_echo = False
        """Whether the client may have sent a close frame. The server echoes its code, whatever it
        is."""
        self._json = json_text
        self._tally = tally
        self._got = bytearray()

    def feed(self, data: bytes) -> list[dict[Any, Any] | bytes]:
        """Take bytes; returns messages as maps, and pongs as their payloads."""
        self._got += data
        events: list[dict[Any, Any] | bytes] = []
        while (one := self._frame()) is not None:
            opcode, payload = one
            if self.closed is not None:
                self._tally.violation(f"a frame after the close frame: {opcode} {payload[:40]!r}")
            elif opcode == frames.CLOSE:
                self._close(payload)
            elif opcode == frames.PONG:
                events.append(payload)
            elif opcode != frames.PING:
                message = self._message(opcode, payload)
                if message is not None:
                    events.append(message)
        return events

    def _frame(self) -> tuple[int, bytes] | None:
        got = self._got
        if len(got) < 2:
            return None
        if got[0] & 0xF0 != 0x80 or got[1] & 0x80:
            self._tally.violation(f"the head of a server's frame was {bytes(got[:2]).hex()}")
        size, start = got[1] & 0x7F, 2
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(got[2:start], "big")
        if len(got) < start + size:
            return None
        opcode, payload = got[0] & 0x0F, bytes(got[start : start + size])
        del got[: start + size]
        if opcode >= frames.CLOSE and size > 125:
            self._tally.violation(f"a control frame of {size} bytes")
        return opcode, payload

    def _close(self, payload: bytes) -> None:
        code = self.closed = int.from_bytes(payload[:2], "big") if payload else 1005
        payload[2:].decode()
        self._tally.closes[str(code)] += 1
        if code in _FAULTS or (code not in CLOSES and not self.may_echo):
            self._tally.violation(f"closed with {code}: {payload[2:].decode()}")

    def _message(self, opcode: int, payload: bytes) -> dict[Any, Any] | None:
        self._tally.answers += 1
        expected = frames.TEXT if self._json else frames.BINARY
        try:
            assert opcode == expected
            message = json.loads(payload) if self._json else msgpack.unpackb(payload)
            assert message["op"] in _OPS
        except Exception as error:
            self._tally.violation(f"not a message: {opcode} {payload[:200]!r}: {error!r}")
            return None
        if message["op"] == "error":
            code = message["code"]
            self._tally.errors[code] += 1
            if code == "internal" or code not in ERRORS:
                self._tally.violation(f"answered {message}")
        assert isinstance(message, dict)
        return message
