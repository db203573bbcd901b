"""Workers whose Valkey is behind Sentinels, through a real failover."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pykka import ActorRef

from persistence import RedisSettings, StoreUnavailable
from persistence.nodes import BeginGeneration, Heartbeat
from persistence.redis import SnapshotWorker, check_redis
from persistence.redis.counters import CounterWorker
from persistence.redis.nodes import NodeWorker
from persistence.requests import Increment, LoadSnapshot, SaveSnapshots, StoreRequest
from tests.persistence.asking import ask

from .valkeys import Watched, until, watched

pytestmark = pytest.mark.failover

Ref = ActorRef[Any]


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Watched]:
    with watched(tmp_path) as found:
        yield found


def at_last(worker: Ref, request: StoreRequest) -> Any:
    """Ask until the store is no longer away; returns that answer."""
    found: list[Any] = []

    def answered() -> bool:
        try:
            found.append(ask(worker, request))
        except StoreUnavailable:
            return False
        return True

    until(answered, f"an answer to {request}")
    return found[0]


def test_all_workers_follow_a_failover(stores: Watched) -> None:
    settings = RedisSettings(url=stores.url, timeout_s=2.0)
    check_redis(settings)
    snapshots = SnapshotWorker.start(settings)
    counters = CounterWorker.start(settings)
    nodes = NodeWorker.start(settings, timeout_s=2.0)
    try:
        row = ("k", "a", 1, 1, 3, b"state")
        ask(snapshots, SaveSnapshots([row]))
        assert ask(counters, Increment("n", 2, 3_600_000))[0] == 2
        ask(nodes, BeginGeneration(7, "c"))
        beat = Heartbeat("a.1", 60_000, 60_000, 0, (), "c")
        assert ask(nodes, beat).generation == 7
        stores.primary.client.wait(1, 10_000)  # the replica has all
        stores.fail_over()
        assert at_last(snapshots, LoadSnapshot("k", "a")) == row
        ask(snapshots, SaveSnapshots([("k", "a", 2, 1, 3, b"state")]))
        assert sum(at_last(counters, Increment("n", 3, 3_600_000))[:2]) == 5
        # Another process of Valkey may have lost something: who holds what is to be claimed anew.
        assert at_last(nodes, beat).generation == 0
    finally:
        for worker in (snapshots, counters, nodes):
            worker.stop()


def test_a_primary_that_has_become_a_replica_is_left(stores: Watched) -> None:
    snapshots = SnapshotWorker.start(RedisSettings(url=stores.url, timeout_s=2.0))
    try:
        ask(snapshots, SaveSnapshots([("k", "a", 1, 1, 3, b"old")]))
        stores.sentinels[0].client.execute_command("SENTINEL", "FAILOVER", "games")
        until(
            lambda: stores.primary.client.info("replication")["role"] == "slave",
            "the roles have changed",
        )
        row = ("k", "a", 2, 1, 3, b"new")
        at_last(snapshots, SaveSnapshots([row]))
        assert ask(snapshots, LoadSnapshot("k", "a")) == row
    finally:
        snapshots.stop()


def test_sentinels_that_do_not_know_the_name_are_one_line(stores: Watched) -> None:
    with pytest.raises(StoreUnavailable, match="No master found") as caught:
        check_redis(RedisSettings(url=stores.url.replace("/games/", "/others/")))
    assert "\n" not in str(caught.value)
    assert "password" not in str(caught.value)
