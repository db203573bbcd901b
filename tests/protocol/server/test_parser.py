"""Our frame parser compared with the library's: the same messages and failures, byte for byte."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from protocol import frames
from protocol.server.parser import FrameReader
from tests.protocol.library import LibraryReader
from tests.protocol.live import MASK, masked

LIMIT = 200

_lengths = st.sampled_from([0, 1, 2, 5, 100, 125, 126, 127, 199, 200, 201, 300])
_close_payloads = st.sampled_from(
    [b"", b"\x03", b"\x03\xe8bye", b"\x03\xe8\xff\xfe"]
    + [code.to_bytes(2) for code in (1, 1000, 1004, 1005, 1006, 2999, 3000, 4999, 5000)]
)


@st.composite
def client_frames(draw: st.DrawFn) -> bytes:
    """Draw a frame that is mostly valid; now and then something in it is wrong."""
    opcode = draw(st.sampled_from([0, 0, 1, 2, 2, 8, 9, 10]) | st.integers(0, 15))
    reserved = draw(st.sampled_from([0] * 15 + [1, 2, 4]))
    fin = draw(st.booleans() | st.just(value=True))
    payload = draw(_close_payloads) if opcode == frames.CLOSE else bytes(draw(_lengths))
    masked = draw(st.sampled_from([True] * 20 + [False]))
    announced = draw(st.sampled_from([len(payload)] * 20 + [2**16, 2**63 + 1]))
    width = draw(st.sampled_from([0] * 6 + [2, 8]))  # a length may be written longer than need be
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    flag = 0x80 if masked else 0
    if announced >= 2**16 or width == 8:
        head += bytes([flag | 127]) + announced.to_bytes(8)
    elif announced > 125 or width == 2:
        head += bytes([flag | 126]) + announced.to_bytes(2)
    else:
        head += bytes([flag | announced])
    body = bytes(byte ^ MASK[place % 4] for place, byte in enumerate(payload))
    return head + (MASK if masked else b"") + body


@given(st.lists(client_frames() | st.binary(max_size=20), max_size=8), st.data())
def test_it_agrees_with_the_library_however_the_bytes_are_read(
    parts: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(parts)
    ours, theirs = FrameReader(LIMIT), LibraryReader(LIMIT)
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        assert ours.feed(stream[:cut]) == theirs.feed(stream[:cut])
        assert ours.failure == theirs.failure
        stream = stream[cut:]


def test_an_announced_length_is_refused_before_anything_of_it_is_kept() -> None:
    reader = FrameReader(LIMIT)
    reader.feed(b"\x82\xff" + (2**62).to_bytes(8))
    assert reader.failure is not None
    assert reader.kept_bytes == 0


def test_frames_that_end_no_message_are_counted() -> None:
    reader = FrameReader(LIMIT)
    whole, begin, more, end = (
        masked(opcode, b"", fin=fin)
        for opcode, fin in ((frames.BINARY, True), (frames.BINARY, False), (0, False), (0, True))
    )
    assert reader.feed(whole + begin + end) == [(frames.BINARY, b"")] * 2
    assert reader.fragments == 1
    assert reader.feed(begin + more * 1000) == []
    assert reader.fragments == 1002
