"""Nodes in processes of their own: one that is killed, and one that is frozen."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio

from persistence import PostgresSettings, RedisSettings

from .member_process import Order
from .members import ALL, SETTINGS, Where, member, own_cluster, settled, until


@pytest.fixture
def where(redis: RedisSettings, postgres: PostgresSettings, unique: str) -> Where:
    return own_cluster(redis, postgres, unique)


class ProcessNode:
    """The process, and what it has said so far."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.said: list[Any] = []
        self.beats: list[bool] = []
        """Whether it held slot 0, at each beat of its actor."""

    async def read(self) -> None:
        assert self.process.stdout is not None
        rest = b""
        async for chunk in self.process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                what, about = msgspec.json.decode(line)
                if what == "beat":
                    self.beats.append(about)
                self.said.append((what, about))

    def heard(self, what: str) -> list[Any]:
        return [about for said, about in self.said if said == what]


@asynccontextmanager
async def process_node(where: Where, name: str) -> AsyncIterator[ProcessNode]:
    order = msgspec.json.encode(Order(name, where.redis, where.postgres, SETTINGS)).decode()
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.actors.cluster.member_process", order],
        stdout=subprocess.PIPE,
    )
    node = ProcessNode(process)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.read)
            yield node
            process.kill()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        if process.stdout is not None:
            await process.stdout.aclose()


async def test_a_killed_node_is_buried_at_once_by_one_on_its_machine(where: Where) -> None:
    async with member(where, "a") as a, process_node(where, "b") as b:
        await until(lambda: a.place.view().nodes.keys() == {"a.1", "b.2"} and a.place.settled())
        killed = a.place.beats
        b.process.kill()
        await settled(a)
        assert a.recorder.of("down") == ["b.2"]
        # The lease is not waited for.
        assert a.place.beats - killed < SETTINGS.beats


async def test_a_node_that_was_frozen_for_longer_than_its_lease_does_nothing_any_more(
    where: Where,
) -> None:
    async with member(where, "a") as a, process_node(where, "b") as b:
        await until(lambda: a.place.view().nodes.keys() == {"a.1", "b.2"} and a.place.settled())
        assert a.place.holder(0) == "b.2", "by their names"
        await until(lambda: b.beats and b.beats[-1])
        b.process.send_signal(signal.SIGSTOP)
        await settled(a)
        assert a.held() == ALL
        assert not b.heard("fenced")
        await trio.testing.wait_all_tasks_blocked(0.01)  # what it said before is read
        said = len(b.said)
        b.process.send_signal(signal.SIGCONT)
        await b.process.wait()
        await until(lambda: b.heard("fenced"))
        # The turn that the signal fell into may end; then the first thing is the end.
        after = b.said[said:]
        first = next(at for at, (what, _) in enumerate(after) if what == "fenced")
        assert after[first] == ("fenced", "its lease is over")
        assert [about for what, about in after[:first] if what == "beat"] in ([], [True])
        assert True not in [about for what, about in after[first:] if what == "beat"]
