"""Several server processes that are started on one PostgreSQL."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.node.exits import Exit
from tests.conftest import Stores
from tests.server_process import Server, run


@pytest.fixture
def shared(stores: Stores, unique: str) -> tuple[str, ...]:
    return (
        f"postgres.url={stores.postgres_url}",
        f"postgres.schema={unique}",
        f"redis.url={stores.redis_url}",
        f"redis.prefix={unique}:",
        "log.format=json",
    )


@pytest.fixture
def first(tmp_path: Path, shared: tuple[str, ...]) -> Iterator[Server]:
    with Server(tmp_path / "first", *shared) as server:
        yield server


def arguments(folder: Path, *settings: str) -> list[str]:
    ours = (f"server.data_dir={folder}", "listen.port=0", "http.port=0", *settings)
    return [part for setting in ours for part in ("--set", setting)]


def test_a_second_server_on_the_same_schema_does_not_start(
    tmp_path: Path, first: Server, shared: tuple[str, ...]
) -> None:
    ended = run("serve", *arguments(tmp_path / "second", *shared))
    assert ended.code == Exit.NOT_ALONE
    (line,) = ended.err.splitlines()
    assert f"process {first.process.pid} on" in line
    assert first.process.poll() is None


def test_one_that_may_start_beside_another_says_so(
    tmp_path: Path, first: Server, shared: tuple[str, ...]
) -> None:
    with Server(tmp_path / "second", *shared, "server.alone=false") as second:
        (warning,) = [event for event in second.events() if event["event"] == "not alone"]
        assert f"process {first.process.pid} on" in warning["holder"]
        assert second.stop() == Exit.OK
    assert first.stop() == Exit.OK


def test_a_server_takes_the_place_of_a_killed_one_and_of_one_that_stopped(
    tmp_path: Path, first: Server, shared: tuple[str, ...]
) -> None:
    first.kill()
    with Server(tmp_path / "second", *shared) as second:
        assert second.stop() == Exit.OK
    with Server(tmp_path / "third", *shared):
        pass


def test_a_frozen_server_is_replaced_and_stops_when_it_wakes(
    tmp_path: Path, first: Server, shared: tuple[str, ...]
) -> None:
    os.kill(first.process.pid, signal.SIGSTOP)
    with Server(tmp_path / "second", *shared) as second:
        os.kill(first.process.pid, signal.SIGCONT)
        assert first.process.wait(30) == Exit.NOT_ALONE
        assert "took this one for dead" in first.err[-1]
        assert second.process.poll() is None


def test_a_frozen_server_that_need_not_be_alone_goes_on_when_it_wakes(
    tmp_path: Path, shared: tuple[str, ...]
) -> None:
    patient = (*shared, "server.alone=false")
    with Server(tmp_path / "first", *patient) as first:
        os.kill(first.process.pid, signal.SIGSTOP)
        with Server(tmp_path / "second", *patient) as second:
            os.kill(first.process.pid, signal.SIGCONT)
            deadline = time.monotonic() + 30
            while not any(event["event"] == "not alone" for event in first.events()):
                assert time.monotonic() < deadline, first.err
                time.sleep(0.05)
            assert first.stop() == second.stop() == Exit.OK
