"""The two encodings of the wire, msgpack and JSON. Each is a subprotocol with the same messages.

Decoding and validation are one step; it takes 0.3 us for a short request (the `msgpack` package
takes 0.64 us without validation). For any bytes, `decode_request` returns a request or raises
`RequestError`, and nothing else. It never allocates memory by a length that the bytes only
announce.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any, Final

import msgspec

from protocol import frames
from protocol.errors import BAD_MESSAGE, UNKNOWN_OP, RequestError
from protocol.messages import EVERY_OP, AnyRequest, AnyServerMessage
from protocol.messages.envelope import MAX_REF
from protocol.messages.op_table import OpTable

MAX_DEPTH: Final = 32
"""How deep a game's own values (`params`, `input`) may nest."""

_MAX_INT = 2**64 - 1  # the range of msgpack's integers; JSON has no limit
_MIN_INT = -(2**63)

_MAX_WHOLE: Final = 2.0**53
"""Beyond this number a float cannot represent every integer."""
_UNDECODABLE = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError, TypeError)
"""What msgspec raises for bad bytes.

Apart from its own errors these are UnicodeDecodeError for a string that is not UTF-8,
RecursionError for deep nesting, and OverflowError and TypeError for unusual map keys.
"""


class EncodeError(Exception):
    """A message cannot be encoded, because a game's own value in it has no encoding."""


class _Envelope(msgspec.Struct, gc=False):
    """The op and ref of a message that is not valid, or that is not decoded further."""

    op: Any = None
    ref: Any = None

    def valid_ref(self) -> int | None:
        """Return the ref, or None if it is not valid."""
        ref = self.ref
        if type(ref) is float and ref.is_integer():
            ref = int(ref)
        return ref if type(ref) is int and 0 <= ref <= MAX_REF else None


class Encoding:
    """One subprotocol: it turns messages into frames and back.

    It has no state; all connections share it.

    Arguments:
        name: `msgpack` or `json`.
        opcode: the opcode of its frames, binary or text.
        codec: msgspec's module for the encoding.
        ops: the ops whose requests are decoded.
        lenient: another decoder, which reads some bytes that `codec` refuses.
    """

    __slots__ = (
        "_decode", "_decode_calls", "_decode_envelope", "_decode_leniently", "_decode_plain",
        "_decode_server", "_encode", "_games_own", "_is_msgpack", "_ops", "name", "opcode",
        "subprotocol",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        opcode: int,
        codec: Any,
        ops: OpTable,
        lenient: Callable[[Any], Any] | None = None,
    ) -> None:
        self.name = name
        self.subprotocol = f"greenroom.v1.{name}"
        self.opcode = opcode
        self._decode = codec.Decoder(ops.request_union).decode
        self._decode_calls = {
            name: codec.Decoder(request).decode for name, request in ops.requests.items()
        }
        self._decode_envelope = codec.Decoder(_Envelope).decode
        self._decode_leniently = lenient
        self._decode_plain = codec.Decoder().decode
        self._decode_server = codec.Decoder(ops.server_union).decode
        self._encode = codec.Encoder().encode
        self._is_msgpack = codec is msgspec.msgpack
        self._ops = ops
        # In a game's own fields 7.0 stays 7.0, because the game decides what that means.
        self._games_own = frozenset(field for own in ops.own_values.values() for field in own)

    def __repr__(self) -> str:
        return f"<Encoding {self.name}>"

    def decode_request(self, data: bytes | bytearray | memoryview | str) -> AnyRequest:
        """Return the request in a message's payload.

        Raises:
            RequestError: there is no valid request. The error is BAD_MESSAGE or UNKNOWN_OP;
                `detail` says what is wrong with which field; `ref` is the request's, if it could be
                read.
        """
        try:
            request: AnyRequest = self._decode(data)
        except msgspec.ValidationError as error:
            request = self._decode_whole_floats(data, error, self._ops.request_union)
        except _UNDECODABLE as error:
            raise self._refusal(data, error) from None
        own = self._ops.own_values.get(type(request))
        if own is not None:
            for field in own:
                _check_plain(getattr(request, field), field, request.ref)
        return request

    def decode_call(self, op: str, data: bytes) -> AnyRequest:
        """Return the request for an op of the table, from a payload that need not name the op.

        Raises:
            RequestError: BAD_MESSAGE; `detail` says what is wrong with which field.
        """
        try:
            request: AnyRequest = self._decode_calls[op](data)
        except msgspec.ValidationError as error:
            request = self._decode_whole_floats(data, error, self._ops.requests[op])
        except _UNDECODABLE as error:
            raise self._refusal(data, error) from None
        for field in self._ops.own_values.get(type(request), ()):
            _check_plain(getattr(request, field), field, request.ref)
        return request

    def peek(self, data: bytes) -> tuple[str, int | None]:
        """Return the op and ref of a request, without checking anything else.

        A ref of None means that it has none. An empty op means that it is no request, or that its
        ref is not valid.
        """
        envelope = self._envelope(data)
        op, ref = envelope.op, envelope.valid_ref()
        if type(op) is not str or (ref is None and envelope.ref is not None):
            return "", None
        return op, ref

    def decode_server(self, data: bytes | bytearray | memoryview | str) -> AnyServerMessage:
        """Return a server's message, for clients.

        `Ok.data` is left as plain values; `OpTable.answers` tells its type.

        Raises:
            ValueError: the data is no message of this protocol. (msgspec's errors are ValueErrors.)
        """
        try:
            message: AnyServerMessage = self._decode_server(data)
        except (RecursionError, OverflowError, TypeError) as error:
            raise ValueError(f"not a message: {error}") from None
        return message

    def encode(self, message: msgspec.Struct) -> bytes:
        """Return the payload of a message.

        Raises:
            EncodeError: a value in it cannot be encoded. It is an object, a string with a lone
                surrogate, an integer beyond 64 bits, or a cycle.
        """
        try:
            payload: bytes = self._encode(message)
        except _UNDECODABLE as error:
            raise _no_encoding(message, error) from error
        return payload

    def frame(self, message: msgspec.Struct) -> bytes:
        """Return the whole WebSocket frame of a message. The outboxes of all recipients share it.

        Raises:
            EncodeError: like `encode`.
        """
        try:
            payload = self._encode(message)  # and not `encode`: one call less for each frame
        except _UNDECODABLE as error:
            raise _no_encoding(message, error) from error
        return frames.frame(self.opcode, payload)

    def reframe(self, payload: bytes) -> bytes:
        """The whole frame of a message that comes from another node, encoded in msgpack.

        Raises:
            EncodeError: as `reencode`.
        """
        return frames.frame(self.opcode, self.reencode(payload))

    def reencode(self, payload: bytes) -> bytes:
        """What `encode` makes of a message, from what the msgpack encoding made of it.

        The message may be of a type that this server does not know, because the other node is of a
        newer version.

        Raises:
            EncodeError: some value in it has no encoding here, or it is no msgpack.
        """
        if self._is_msgpack:
            return payload
        try:
            reencoded: bytes = self._encode(msgspec.msgpack.decode(payload))
        except _UNDECODABLE as error:
            raise EncodeError(f"of another node: {error}") from error
        return reencoded

    def _decode_whole_floats(
        self,
        data: bytes | bytearray | memoryview | str,
        why: msgspec.ValidationError,
        kind: Any,
    ) -> AnyRequest:
        """Decode a request that was refused because of `why`, this time taking 7.0 for 7.

        Some game engines have no integers, or none beyond 32 bits. Only requests that were refused
        come here, so this costs nothing for clients that send integers.
        """
        try:
            plain = self._decode_plain(data)
        except _UNDECODABLE:
            raise self._refusal(data, why) from None
        if type(plain) is not dict:
            raise self._refusal(data, why)
        try:
            whole = {
                name: value if name in self._games_own else _whole(value)
                for name, value in plain.items()
            }
            request: AnyRequest = msgspec.convert(whole, kind)
        except _UNDECODABLE as error:
            raise self._refusal(data, error) from None
        return request

    def _envelope(self, data: bytes | bytearray | memoryview | str) -> _Envelope:
        """Return the op and ref of a well-formed message; an empty envelope for a broken one."""
        try:
            envelope: _Envelope = self._decode_envelope(data)
        except _UNDECODABLE:
            pass
        else:
            return envelope
        if self._decode_leniently is not None:
            with contextlib.suppress(*_UNDECODABLE):
                found = self._decode_leniently(data)
                if type(found) is dict:
                    return _Envelope(found.get("op"), found.get("ref"))
        return _Envelope()

    def _refusal(self, data: bytes | bytearray | memoryview | str, why: Exception) -> RequestError:
        if isinstance(why, RecursionError):
            return RequestError(BAD_MESSAGE, "nested too deeply")
        envelope = self._envelope(data)
        op, ref = envelope.op, envelope.valid_ref()
        if isinstance(why, msgspec.ValidationError):
            if type(op) is str and op not in self._ops.requests:
                return RequestError(UNKNOWN_OP, f"no op is called {op[:64]!r}", ref=ref)
        elif isinstance(why, UnicodeDecodeError):
            return RequestError(BAD_MESSAGE, "a string is not valid UTF-8", ref=ref)
        elif op is not None:  # only the lenient decoder reads it, so a string has a lone surrogate
            return RequestError(BAD_MESSAGE, "a string is not valid Unicode", ref=ref)
        return RequestError(BAD_MESSAGE, str(why), ref=ref)


def _no_encoding(message: msgspec.Struct, why: Exception) -> EncodeError:
    return EncodeError(f"{type(message).__name__}: {why}")


def _check_plain(value: Any, field: str, ref: int | None) -> None:
    """Check that both encodings can carry a game's own value. Raises RequestError if not.

    They can carry null, booleans, integers of 64 bits, floats, strings, bytes (base64 in JSON),
    arrays, and maps with string keys, nested at most `MAX_DEPTH` deep.
    """
    pending = [(value, 1)]
    while pending:
        item, depth = pending.pop()
        kind = type(item)
        if kind is dict or kind is list:
            if depth > MAX_DEPTH:
                raise RequestError(BAD_MESSAGE, f"{field}: nested too deeply", ref=ref)
            if kind is dict:
                if not all(type(key) is str for key in item):
                    raise RequestError(BAD_MESSAGE, f"{field}: keys must be strings", ref=ref)
                item = item.values()
            pending.extend((inner, depth + 1) for inner in item)
        elif kind is int:
            if not _MIN_INT <= item <= _MAX_INT:
                raise RequestError(BAD_MESSAGE, f"{field}: integer beyond 64 bits", ref=ref)
        elif kind not in _PLAIN:
            raise RequestError(BAD_MESSAGE, f"{field}: only plain values, no extensions", ref=ref)


def _whole(value: Any) -> Any:
    """Return a value with integral floats as integers. Raises RecursionError if it is too deep."""
    kind = type(value)
    if kind is float:
        return int(value) if value.is_integer() and abs(value) <= _MAX_WHOLE else value
    if kind is list:
        return [_whole(item) for item in value]
    if kind is dict:
        return {key: _whole(item) for key, item in value.items()}
    return value


def _json_with_any_string(data: bytes | bytearray | str) -> Any:
    """Decode JSON with Python's own decoder, which also takes strings with a lone surrogate."""
    return json.loads(data, parse_constant=_no_json)


def _no_json(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


_PLAIN = frozenset((type(None), bool, float, str, bytes))


def encodings(ops: OpTable) -> tuple[Encoding, Encoding]:
    """Return both encodings for these ops, in the order of the server's preference."""
    return (
        Encoding("msgpack", frames.BINARY, msgspec.msgpack, ops),
        Encoding("json", frames.TEXT, msgspec.json, ops, lenient=_json_with_any_string),
    )


MSGPACK, JSON = encodings(EVERY_OP)

ENCODINGS: Final[dict[str, Encoding]] = {one.subprotocol: one for one in (MSGPACK, JSON)}
"""The encoding of every op, by subprotocol."""
