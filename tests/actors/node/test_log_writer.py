"""A log whose reader is slow, away or gone loses lines, but delays nobody."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import IO, TextIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.node.log_writer import LogWriter


@pytest.fixture
def pipe() -> Iterator[tuple[IO[bytes], TextIO]]:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as reader, os.fdopen(write_end, "w") as stream:
        yield reader, cast("TextIO", stream)


def told(dropped: int) -> str:
    return f"dropped {dropped}\n"


def fill(descriptor: int) -> int:
    """Write until a pipe takes no more; returns how many bytes that was."""
    os.set_blocking(descriptor, False)
    count = 0
    try:
        while True:
            count += os.write(descriptor, bytes(4096))
    except BlockingIOError:
        os.set_blocking(descriptor, True)
        return count


def test_lines_come_in_order(pipe: tuple[IO[bytes], TextIO]) -> None:
    reader, stream = pipe
    writer = LogWriter(stream, queue_bytes=4096, told=told)
    for number in range(3):
        writer.write(f"line {number} \u00e9\ud800\n")
    assert writer.drain(10)
    assert [reader.readline() for _ in range(3)] == [
        f"line {number} \u00e9\\ud800\n".encode() for number in range(3)
    ]
    assert writer.dropped == 0


def test_a_pipe_that_nobody_reads_stops_nobody(pipe: tuple[IO[bytes], TextIO]) -> None:
    reader, stream = pipe
    filler = fill(stream.fileno())
    writer = LogWriter(stream, queue_bytes=4096, told=told)
    for number in range(1000):
        writer.write(f"line {number:3}\n")
    assert not writer.drain(0)
    kept = 4096 // 9
    assert writer.dropped == 1000 - kept
    # And once somebody does, it is told what is missing.
    assert len(reader.read(filler)) == filler
    lines = [reader.readline() for _ in range(kept)]
    assert lines == [f"line {number:3}\n".encode() for number in range(kept)]
    missing = 0
    while missing < 1000 - kept:  # in one line, or in two if some were dropped later
        said = reader.readline().split()
        assert said[0] == b"dropped"
        missing += int(said[1])
    assert missing == 1000 - kept
    assert writer.drain(10)  # what it has written is no longer in its queue
    writer.write("line\n")
    assert reader.readline() == b"line\n"
    assert writer.drain(10)


def test_a_pipe_that_somebody_made_non_blocking_loses_nothing(
    pipe: tuple[IO[bytes], TextIO],
) -> None:
    reader, stream = pipe
    filler = fill(stream.fileno())
    os.set_blocking(stream.fileno(), False)
    writer = LogWriter(stream, queue_bytes=4096, told=told)
    writer.write("line\n")
    assert len(reader.read(filler)) == filler
    assert reader.readline() == b"line\n"
    assert writer.dropped == 0


def test_what_cannot_be_written_is_counted(pipe: tuple[IO[bytes], TextIO]) -> None:
    reader, stream = pipe
    reader.close()
    writer = LogWriter(stream, queue_bytes=4096, told=told)
    writer.write("line\n")
    assert writer.drain(10)
    assert writer.dropped == 1


def test_without_a_stream_there_is_no_thread() -> None:
    before = threading.active_count()
    writer = LogWriter(None, queue_bytes=4096, told=told)
    writer.write("line\n")
    assert writer.drain(0)
    assert threading.active_count() == before


@given(st.lists(st.integers(1, 3000), max_size=20), st.integers(0, 20))
def test_each_line_is_written_or_counted(lengths: list[int], read_at: int) -> None:
    """However much is read in between."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as reader, os.fdopen(write_end, "w") as stream:
        filler = fill(write_end)
        writer = LogWriter(cast("TextIO", stream), queue_bytes=8192, told=told)
        for index, length in enumerate(lengths):
            if index == read_at:
                reader.read(filler)
                assert writer.drain(10)
            writer.write(f"{'x' * length}\n")
        if read_at >= len(lengths):
            reader.read(filler)
        assert writer.drain(10)
        os.set_blocking(read_end, False)
        lines = (reader.read() or b"").splitlines()
    said = sum(int(line.split()[1]) for line in lines if line.startswith(b"dropped"))
    written = [line for line in lines if line.startswith(b"x")]
    assert said == writer.dropped
    assert len(written) + writer.dropped == len(lengths)
