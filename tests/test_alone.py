"""Several server processes that are started on one PostgreSQL."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.node.exits import Exit
from tests.server_process import Server, alone_in, flags, run


@pytest.fixture
def first(tmp_path: Path, same_stores: tuple[str, ...]) -> Iterator[Server]:
    with Server(tmp_path / "first", *same_stores) as server:
        yield server


def arguments(folder: Path, *settings: str) -> list[str]:
    return flags(*alone_in(folder), *settings)


def test_a_second_server_on_the_same_schema_does_not_start(
    tmp_path: Path, first: Server, same_stores: tuple[str, ...]
) -> None:
    ended = run("serve", *arguments(tmp_path / "second", *same_stores))
    assert ended.code == Exit.NOT_ALONE
    (line,) = ended.err.splitlines()
    assert f"process {first.process.pid} on" in line
    assert first.process.poll() is None


def test_one_that_may_start_beside_another_says_so(
    tmp_path: Path, first: Server, same_stores: tuple[str, ...]
) -> None:
    with Server(tmp_path / "second", *same_stores, "server.alone=false") as second:
        (warning,) = [event for event in second.events() if event["event"] == "not alone"]
        assert f"process {first.process.pid} on" in warning["holder"]
        assert second.stop() == Exit.OK
    assert first.stop() == Exit.OK


def test_a_server_takes_the_place_of_a_killed_one_and_of_one_that_stopped(
    tmp_path: Path, first: Server, same_stores: tuple[str, ...]
) -> None:
    first.kill()
    with Server(tmp_path / "second", *same_stores) as second:
        assert second.stop() == Exit.OK
    with Server(tmp_path / "third", *same_stores):
        pass


def test_a_frozen_server_is_replaced_and_stops_when_it_wakes(
    tmp_path: Path, first: Server, same_stores: tuple[str, ...]
) -> None:
    os.kill(first.process.pid, signal.SIGSTOP)
    with Server(tmp_path / "second", *same_stores) as second:
        os.kill(first.process.pid, signal.SIGCONT)
        assert first.wait() == Exit.NOT_ALONE
        assert "took this one for dead" in first.err[-1]
        assert second.process.poll() is None


def test_a_frozen_server_that_need_not_be_alone_goes_on_when_it_wakes(
    tmp_path: Path, same_stores: tuple[str, ...]
) -> None:
    patient = (*same_stores, "server.alone=false")
    with Server(tmp_path / "first", *patient) as first:
        os.kill(first.process.pid, signal.SIGSTOP)
        with Server(tmp_path / "second", *patient) as second:
            os.kill(first.process.pid, signal.SIGCONT)
            deadline = time.monotonic() + 30
            while not any(event["event"] == "not alone" for event in first.events()):
                assert time.monotonic() < deadline, first.err
                time.sleep(0.05)
            assert first.stop() == second.stop() == Exit.OK
