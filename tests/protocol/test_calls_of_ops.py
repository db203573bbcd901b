"""Calls of ops: a payload that does not name its op is held to the same types and limits."""

from __future__ import annotations

import msgspec
import pytest

from protocol.codec import JSON
from protocol.errors import RequestError
from protocol.messages.match import MatchCreate
from protocol.messages.storage import StorageList


def test_a_payload_without_the_op_is_the_request() -> None:
    found = JSON.decode_call("storage.list", b'{"collection": "saves", "limit": 7}')
    assert found == StorageList(collection="saves", limit=7)


def test_a_whole_float_is_taken_for_an_integer_as_on_the_wire() -> None:
    found = JSON.decode_call("storage.list", b'{"collection": "saves", "limit": 7.0}')
    assert found == StorageList(collection="saves", limit=7)
    own = JSON.decode_call("match.create", b'{"game": "g", "params": {"x": 7.0}}')
    assert isinstance(own, MatchCreate)
    assert type(own.params["x"]) is float


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{",
        b'{"collection": 7}',
        b'{"collection": "saves", "limit": 0}',
        b'{"op": "ping", "collection": "saves"}',
        b'{"collection": "\xff"}',
        b'{"collection": "\\ud800"}',
        b"[" * 100_000,
        msgspec.json.encode({"collection": "saves", "ref": -1}),
    ],
)
def test_what_is_not_valid_is_refused_and_nothing_else_raised(payload: bytes) -> None:
    with pytest.raises(RequestError) as refused:
        JSON.decode_call("storage.list", payload)
    assert refused.value.error.code in ("bad_message", "unknown_op")


def test_a_games_own_values_are_checked_for_both_encodings() -> None:
    deep = b'{"game": "g", "params": {"x": ' + b"[" * 40 + b"]" * 40 + b"}}"
    with pytest.raises(RequestError, match="nested too deeply"):
        JSON.decode_call("match.create", deep)
