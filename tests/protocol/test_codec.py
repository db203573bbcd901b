from __future__ import annotations

import contextlib
import functools
import json
import math
from collections.abc import Callable
from typing import Any, get_args

import msgpack
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocol.codec import ENCODINGS, JSON, MAX_DEPTH, MSGPACK, EncodeError, Encoding
from protocol.errors import BAD_MESSAGE, UNKNOWN_OP, RequestError
from protocol.messages import EVERY_OP
from protocol.messages.envelope import ErrorReply, Ok
from protocol.messages.match import MatchInput, MatchStatePush
from protocol.messages.room import RoomJoin
from protocol.messages.session import Ping

both = pytest.mark.parametrize("encoding", [MSGPACK, JSON], ids=repr)

idents = st.from_regex(r"[A-Za-z0-9_.:\-]{1,64}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]))
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Draw any value of a field of a message, by the field's own type and limits."""
    match kind:
        case msgspec.inspect.AnyType():
            return plain
        case msgspec.inspect.NoneType():
            return st.none()
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.IntType(ge=low, le=high):
            return st.integers(-(2**63) if low is None else low, 2**63 if high is None else high)
        case msgspec.inspect.FloatType():
            return st.floats(allow_nan=False, allow_infinity=False)
        case msgspec.inspect.StrType(pattern=None, min_length=low, max_length=high):
            return st.text(
                st.characters(exclude_categories=["Cs"]), min_size=low or 0, max_size=high or 20
            )
        case msgspec.inspect.StrType(pattern=str(pattern)):
            return st.from_regex(pattern.replace(r"\Z", "").lstrip("^"), fullmatch=True)
        case msgspec.inspect.LiteralType(values=choices):
            return st.sampled_from(choices)
        case msgspec.inspect.ListType(item_type=item):
            return st.lists(values(item), max_size=3)
        case msgspec.inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(values(key), values(value), max_size=3)
        case msgspec.inspect.UnionType(types=kinds):
            return st.one_of(*map(values, kinds))
        case msgspec.inspect.StructType(cls=cls, fields=fields):
            named = {field.name: values(field.type) for field in fields}
            return st.fixed_dictionaries(named).map(lambda given: cls(**given))
    raise AssertionError(f"no strategy for {kind}")


@functools.cache
def messages(union: Any) -> st.SearchStrategy[Any]:
    """The strategy is cached: to make it takes longer than a hundred draws from it."""
    return st.one_of(*(values(msgspec.inspect.type_info(kind)) for kind in get_args(union)))


def test_the_unions_hold_what_the_tables_hold() -> None:
    assert set(get_args(EVERY_OP.request_union)) == set(EVERY_OP.requests.values())
    assert set(get_args(EVERY_OP.server_union)) == {Ok, ErrorReply, *EVERY_OP.pushes.values()}
    assert list(ENCODINGS) == ["greenroom.v1.msgpack", "greenroom.v1.json"]


@both
@given(st.data())
def test_every_request_round_trips(encoding: Encoding, data: st.DataObject) -> None:
    request = data.draw(messages(EVERY_OP.request_union))
    assert encoding.decode_request(encoding.encode(request)) == request


@both
@given(st.data())
def test_every_message_of_the_server_round_trips(encoding: Encoding, data: st.DataObject) -> None:
    message = data.draw(messages(EVERY_OP.server_union))
    assert encoding.decode_server(encoding.encode(message)) == message


@given(messages(EVERY_OP.server_union | EVERY_OP.request_union))
def test_our_bytes_are_plain_maps_to_other_decoders(message: msgspec.Struct) -> None:
    op = message.__struct_config__.tag
    expected = msgspec.to_builtins(message)
    by_msgpack = msgpack.unpackb(MSGPACK.encode(message), strict_map_key=False)
    by_json = json.loads(JSON.encode(message))
    assert by_msgpack == expected
    assert by_json == expected
    assert by_msgpack["op"] == by_json["op"] == op


DATA = [kind for kind in EVERY_OP.answers.values() if kind is not None]


@pytest.mark.parametrize(
    "kind", [*get_args(EVERY_OP.server_union), *DATA], ids=lambda kind: kind.__name__
)
@settings(max_examples=20, deadline=None)
@given(st.data())
def test_every_push_and_reply_is_plain_to_other_decoders(
    kind: type[msgspec.Struct], data: st.DataObject
) -> None:
    """Each type is tried by itself, so that chance leaves none out.

    Answers are within their `ok`.
    """
    message = data.draw(values(msgspec.inspect.type_info(kind)))
    sent = Ok(1, message) if kind in DATA else message
    expected = msgspec.to_builtins(sent)
    assert msgpack.unpackb(MSGPACK.frame(sent)[_head(MSGPACK.frame(sent)) :]) == expected
    assert json.loads(JSON.frame(sent)[_head(JSON.frame(sent)) :]) == expected


def _head(frame: bytes) -> int:
    """Return the length of the header of a server's frame (RFC 6455, 5.2)."""
    return {126: 4, 127: 10}.get(frame[1], 2)


@both
@pytest.mark.parametrize("size", [0, 60, 125, 126, 300, 65_535, 65_536, 70_000])
def test_a_frame_is_a_header_and_the_payload(encoding: Encoding, size: int) -> None:
    message = Ok(1, "x" * size)
    payload = encoding.encode(message)
    frame = encoding.frame(message)
    assert frame.endswith(payload)
    head = frame[: -len(payload)]
    assert head[0] == 0x80 | encoding.opcode
    if len(payload) < 126:
        assert head[1:] == bytes([len(payload)])
    elif len(payload) < 65_536:
        assert head[1:] == b"\x7e" + len(payload).to_bytes(2, "big")
    else:
        assert head[1:] == b"\x7f" + len(payload).to_bytes(8, "big")


def refusal(encoding: Encoding, message: Any) -> RequestError:
    data = msgpack.packb(message) if encoding is MSGPACK else json.dumps(message).encode()
    with pytest.raises(RequestError) as caught:
        encoding.decode_request(data)
    return caught.value


@both
def test_an_unknown_op_is_named_and_bears_its_ref(encoding: Encoding) -> None:
    error = refusal(encoding, {"op": "room.fly", "ref": 9, "room": "x"})
    assert (error.error, error.ref) == (UNKNOWN_OP, 9)
    assert "room.fly" in error.detail


@both
@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"op": "room.join", "ref": 9}, "`room`"),
        ({"op": "room.join", "ref": 9, "room": 5}, "$.room"),
        ({"op": "room.join", "ref": 9, "room": "no spaces"}, "$.room"),
        ({"op": "room.history", "ref": 9, "room": "a", "limit": 0}, "$.limit"),
        ({"op": "room.send", "ref": 9, "room": "a", "body": ""}, "$.body"),
        ({"ref": 9}, "`op`"),
        ({"op": 5, "ref": 9}, "$.op"),
    ],
)
def test_what_is_wrong_is_said_with_its_field(encoding: Encoding, message: Any, says: str) -> None:
    error = refusal(encoding, message)
    assert (error.error, error.ref) == (BAD_MESSAGE, 9)
    assert says in error.detail


@both
@pytest.mark.parametrize("ref", [-1, 2**53, "one", 1.5, True, [1]])
def test_a_ref_that_is_none_is_not_borne(encoding: Encoding, ref: Any) -> None:
    error = refusal(encoding, {"op": "ping", "ref": ref})
    assert (error.error, error.ref) == (BAD_MESSAGE, None)


@both
def test_unknown_fields_are_ignored(encoding: Encoding) -> None:
    message = {"op": "room.join", "room": "a", "ref": 1, "new": {"deep": [1]}}
    data = msgpack.packb(message) if encoding is MSGPACK else json.dumps(message).encode()
    assert encoding.decode_request(data) == RoomJoin(room="a", ref=1)


PRE_MSGPACK = MSGPACK.encode(MatchInput(match="m", seq=1, input=None, ref=4))[:-1]
PRE_JSON = JSON.encode(MatchInput(match="m", seq=1, input=None, ref=4))[:-5]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        MSGPACK.encode(Ping()) + b"\x00",
        MSGPACK.encode(Ping(ref=3))[:-1],
        b"\x82\xa2op\xa9room.join\xa4room\xa2\xff\xfe",
        PRE_MSGPACK + b"\xa2\xff\xfe",
        PRE_MSGPACK + b"\x91" * 60_000 + b"\x00",
        PRE_MSGPACK + b"\x91" * 100 + b"\x00",
        PRE_MSGPACK + b"\xdd\xff\xff\xff\xff",
        PRE_MSGPACK + b"\xd4\x05a",
        PRE_MSGPACK + b"\xd6\xff\x00\x00\x00\x00",
        PRE_MSGPACK + b"\x81\x01\x02",
        PRE_MSGPACK + b"\x81\x91\x01\x02",
    ],
)
def test_malformed_msgpack_is_a_bad_message(data: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        MSGPACK.decode_request(data)
    assert caught.value.error is BAD_MESSAGE
    assert caught.value.detail


@pytest.mark.parametrize(
    "data",
    [
        "",
        "{",
        '{"op":"ping"} x',
        '{"op":"ping"',
        PRE_JSON.decode() + "[" * 60_000,
        PRE_JSON.decode() + "[" * 100 + "]" * 100 + "}",
        PRE_JSON.decode() + "9" * 30 + "}",
        PRE_JSON.decode() + "9" * 5000 + "}",
        PRE_JSON.decode() + "1e999}",
        PRE_JSON.decode() + '"\\ud800 alone"}',
        '{"op":"session.open","name":"\ud800"}',
        b'{"op":"session.open","name":"\xff"}',
    ],
)
def test_malformed_json_is_a_bad_message(data: bytes | str) -> None:
    with pytest.raises(RequestError) as caught:
        JSON.decode_request(data)
    assert caught.value.error is BAD_MESSAGE
    assert caught.value.detail


@both
def test_a_value_may_nest_up_to_the_limit(encoding: Encoding) -> None:
    value: Any = []
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    data = encoding.encode(MatchInput(match="m", seq=1, input=value, ref=4))
    request = encoding.decode_request(data)
    assert isinstance(request, MatchInput)
    assert request.input == value
    with pytest.raises(RequestError, match="deeply") as caught:
        encoding.decode_request(
            encoding.encode(MatchInput(match="m", seq=1, input={"deeper": value}, ref=4))
        )
    assert caught.value.ref == 4


@both
@given(st.binary(max_size=200))
@example(b"\x82\xa2op\xa4ping\xa1a" + b"\x91" * 5000)
def test_random_bytes_raise_nothing_but_a_request_error(encoding: Encoding, data: bytes) -> None:
    with contextlib.suppress(RequestError):
        encoding.decode_request(data)


@both
@given(st.data())
def test_mutated_messages_raise_nothing_but_a_request_error(
    encoding: Encoding, data: st.DataObject
) -> None:
    payload = bytearray(encoding.encode(data.draw(messages(EVERY_OP.request_union))))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(0, len(payload) - 1)))
        payload[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        request = encoding.decode_request(bytes(payload))
    except RequestError:
        return
    # What was let in can be sent on to anyone, in either encoding.
    MSGPACK.encode(request)
    JSON.encode(request)


def cycle() -> Any:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@both
@pytest.mark.parametrize("make", [object, cycle, lambda: "\ud800"])
def test_what_has_no_encoding_is_an_encode_error(
    encoding: Encoding, make: Callable[[], Any]
) -> None:
    push = MatchStatePush(match="m", offset=1, tick=1, state=make(), acks={})
    with pytest.raises(EncodeError, match="MatchStatePush"):
        encoding.frame(push)


def test_an_integer_beyond_64_bits_has_no_msgpack() -> None:
    with pytest.raises(EncodeError):
        MSGPACK.frame(Ok(1, 2**70))


def test_json_has_null_for_what_is_not_a_number() -> None:
    assert json.loads(JSON.encode(Ok(1, math.nan)))["data"] is None


@both
def test_a_client_gets_a_value_error_for_what_is_no_message(encoding: Encoding) -> None:
    for data in (b"", b"\xc1", b"[" * 60_000, b"\x91" * 60_000 + b"\x00", b'{"op":"nothing"}'):
        with pytest.raises(ValueError, match=r"."):
            encoding.decode_server(data)


def floated(value: Any) -> Any:
    """Return a value as an engine without integers writes it: 7 is 7.0, at every depth."""
    match value:
        case bool():
            return value
        case int() if abs(value) <= 2**53:
            return float(value)
        case list():
            return [floated(item) for item in value]
        case dict():
            return {key: floated(item) for key, item in value.items()}
    return value


@both
@given(st.data())
def test_an_integral_float_is_taken_where_an_integer_is_meant(
    encoding: Encoding, data: st.DataObject
) -> None:
    request = data.draw(messages(EVERY_OP.request_union))
    plain = msgspec.to_builtins(request)
    own = {name: plain[name] for name in ("input", "params") if name in plain}
    module = msgspec.json if encoding is JSON else msgspec.msgpack
    assert encoding.decode_request(module.encode(floated(plain) | own)) == request


@both
@pytest.mark.parametrize("depth", [100, 300, 400, 600, 900, 1200, 2000])
@pytest.mark.parametrize("ref", ["x", 1.0])
def test_whatever_is_nested_beside_a_wrong_field_is_refused_or_taken(
    encoding: Encoding, ref: Any, depth: int
) -> None:
    nested = b"\x91" * depth + b"\xc0" if encoding is MSGPACK else b"[" * depth + b"]" * depth
    module = msgspec.json if encoding is JSON else msgspec.msgpack
    message = module.encode({"op": "ping", "ref": ref, "deep": msgspec.Raw(nested)})
    with contextlib.suppress(RequestError):
        assert encoding.decode_request(message) == Ping(ref=1)


@both
@pytest.mark.parametrize("value", [7.5, 2.0**70, -7.0, "7"])
def test_no_other_number_is(encoding: Encoding, value: Any) -> None:
    module = msgspec.json if encoding is JSON else msgspec.msgpack
    history = {"op": "room.history", "ref": 3.0, "room": "lobby", "before": value}
    with pytest.raises(RequestError, match=r"before") as refused:
        encoding.decode_request(module.encode(history))
    assert refused.value.error is BAD_MESSAGE
    assert refused.value.ref == 3


@both
def test_a_games_own_floats_stay_what_they_are(encoding: Encoding) -> None:
    module = msgspec.json if encoding is JSON else msgspec.msgpack
    move = {"op": "match.input", "ref": 1.0, "match": "m", "seq": 2.0, "input": {"x": 7.0}}
    request = encoding.decode_request(module.encode(move))
    assert isinstance(request, MatchInput)
    assert (type(request.seq), type(request.input["x"])) == (int, float)


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        (JSON, rb'{"op": "room.send", "ref": 3, "room": "lobby", "body": "\ud800"}'),
        (JSON, rb'{"op": "room.send", "ref": 3, "room": "lobby", "body": "\udc00 and more"}'),
        (JSON, b'{"op": "room.send", "ref": 3, "room": "lobby", "body": "\xff"}'),
        (MSGPACK, MSGPACK.encode(RoomJoin(ref=3, room="xxxx")).replace(b"xxxx", b"\xed\xa0\x80x")),
    ],
)
def test_a_string_that_is_no_unicode_is_refused_under_its_ref(
    encoding: Encoding, message: bytes
) -> None:
    with pytest.raises(RequestError, match="a string is not valid") as refused:
        encoding.decode_request(message)
    assert refused.value.error is BAD_MESSAGE
    assert refused.value.ref == 3


@pytest.mark.parametrize(
    "message",
    [
        b'{"op": "ping", "ref": 3, "x": NaN}',
        b'{"op": "ping", "ref": 3, "x": -Infinity}',
        b'{"op": "ping", "ref": 3',
        b'{"op": "ping", "ref": 3}}',
    ],
)
def test_what_is_no_json_has_no_ref(message: bytes) -> None:
    with pytest.raises(RequestError) as refused:
        JSON.decode_request(message)
    assert refused.value.ref is None
