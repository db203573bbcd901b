from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close

from protocol import frames
from protocol.errors import PROTOCOL_ERROR, TOO_BIG
from protocol.frames import close_frame, frame, parse_close
from protocol.server.parser import FrameReader
from tests.protocol.live import masked, unframe

opcodes = st.sampled_from([frames.TEXT, frames.BINARY])


@given(opcodes, st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536]))
def test_a_frame_is_what_rfc_6455_says(opcode: int, size: int) -> None:
    payload = b"p" * size
    found = unframe(bytearray(frame(opcode, payload) + b"more"))
    assert found is not None
    assert found[:2] == (opcode, payload)


@given(
    st.lists(st.tuples(opcodes, st.lists(st.binary(max_size=300), min_size=1, max_size=4))),
    st.data(),
)
def test_messages_are_whole_however_fragmented_and_read(
    messages: list[tuple[int, list[bytes]]], data: st.DataObject
) -> None:
    stream = b""
    expected: list[tuple[int, bytes]] = []
    for opcode, parts in messages:
        for place, part in enumerate(parts):
            last = place == len(parts) - 1
            stream += masked(opcode if place == 0 else frames.CONT, part, fin=last)
            if not last:
                stream += masked(frames.PING, part[:125])
                expected.append((frames.PING, part[:125]))
        expected.append((opcode, b"".join(parts)))
    reader = FrameReader(max_bytes=2000)
    got: list[tuple[int, bytes]] = []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        got += reader.feed(stream[:cut])
        stream = stream[cut:]
    assert got == expected
    assert reader.failure is None


def test_what_came_before_a_breach_is_given_and_nothing_after() -> None:
    reader = FrameReader(max_bytes=100)
    good, bad = masked(frames.BINARY, b"good"), masked(frames.BINARY, b"bad", rsv=4)
    assert reader.feed(good + bad + good) == [(frames.BINARY, b"good")]
    assert reader.failure is PROTOCOL_ERROR
    assert "reserved" in reader.reason
    assert reader.feed(good) == []


def test_a_message_over_the_limit_is_too_big_before_it_has_come() -> None:
    reader = FrameReader(max_bytes=100)
    assert reader.feed(masked(frames.BINARY, b"x" * 101)[:8]) == []
    assert reader.failure is TOO_BIG


def test_fragments_count_together() -> None:
    reader = FrameReader(max_bytes=100)
    reader.feed(masked(frames.BINARY, b"x" * 60, fin=False))
    reader.feed(masked(frames.CONT, b"", fin=False) * 1000)
    assert reader.failure is None
    reader.feed(masked(frames.CONT, b"x" * 41))
    assert reader.failure is TOO_BIG


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_give_messages_or_a_failure(first: bytes, second: bytes) -> None:
    reader = FrameReader(max_bytes=100)
    for opcode, payload in reader.feed(first) + reader.feed(second):
        assert len(payload) <= 100 or opcode >= frames.CLOSE
        if opcode == frames.CLOSE and payload:
            close = Close.parse(payload)
            assert parse_close(payload) == (close.code, close.reason)


@given(st.integers(3000, 4999), st.text(st.characters(exclude_categories=["Cs"])))
def test_a_reason_is_cut_between_characters(code: int, reason: str) -> None:
    data = close_frame(code, reason)
    assert len(data) <= 127
    assert data[1] == len(data) - 2
    got, text = parse_close(data[2:])
    assert got == code
    assert reason.startswith(text)


def test_a_close_frame_without_a_code_is_empty() -> None:
    assert close_frame(None) == b"\x88\x00"
    assert parse_close(b"") == (frames.NO_STATUS, "")
