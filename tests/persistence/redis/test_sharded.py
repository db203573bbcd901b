"""Workers whose Valkey is a Cluster of three."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pykka import ActorRef

from persistence import RedisSettings, StoreUnavailable
from persistence.nodes import BeginGeneration, ChangeSlots, Heartbeat
from persistence.redis import SnapshotWorker, check_redis
from persistence.redis.counters import CounterWorker
from persistence.redis.lines import open_line
from persistence.redis.nodes import NodeWorker
from persistence.requests import (
    DeleteSnapshot,
    FindSnapshots,
    Increment,
    LoadSnapshot,
    SaveSnapshots,
    StoreCheck,
)
from tests.persistence.asking import ask

from .test_sentinel import at_last
from .valkeys import Cluster, sharded

Ref = ActorRef[Any]
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Cluster for tests that leave it as it was."""
    with sharded(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Cluster]:
    with sharded(tmp_path) as found:
        yield found


def of(cluster: Cluster, unique: str = "") -> RedisSettings:
    return RedisSettings(url=cluster.url, timeout_s=2.0, prefix=f"{unique}:")


def test_snapshots_spread_over_all_servers_and_each_is_found(shared: Cluster, unique: str) -> None:
    worker = SnapshotWorker.start(of(shared, unique))
    rows = [(unique, str(n), n, 1, 3, b"m%d" % (n % 2)) for n in range(300)]
    try:
        ask(worker, StoreCheck())
        ask(worker, SaveSnapshots(rows))
        sizes = [len(one.client.keys(f"{unique}:*")) for one in shared.primaries]
        assert sum(sizes) == 300
        assert min(sizes) > 50
        futures = [worker.ask(LoadSnapshot(unique, row[1]), block=False) for row in rows]
        assert [future.get(timeout=10) for future in futures] == rows
        found, cursor, first = [], 0, True
        while cursor or first:
            first = False
            page = ask(worker, FindSnapshots(unique, b"m1", cursor))
            found += page.keys
            cursor = page.cursor
        assert sorted(found) == sorted(str(n) for n in range(1, 300, 2))
        ask(worker, DeleteSnapshot(unique, "7"))
        assert ask(worker, LoadSnapshot(unique, "7")) is None
    finally:
        worker.stop()


def test_what_a_node_says_of_itself_and_its_slots_is_on_one_server(
    shared: Cluster, unique: str
) -> None:
    worker = NodeWorker.start(of(shared, unique), timeout_s=2.0)
    try:
        ask(worker, BeginGeneration(7, "c"))
        held = ask(worker, ChangeSlots(7, [(slot, 0) for slot in range(3000)], "a.1"))
        assert len(held) == 3000
        heard = ask(worker, Heartbeat("a.1", HOUR_MS, HOUR_MS, 0, ("a.1",), "c"))
        assert (heard.generation, len(heard.news)) == (7, 3000)
        homes = [one for one in shared.primaries if one.client.keys(f"{unique}:*")]
        assert len(homes) == 1
    finally:
        worker.stop()


def test_a_key_that_moves_to_another_server_is_followed_and_counted_once(own: Cluster) -> None:
    worker = CounterWorker.start(of(own))
    try:
        names = [f"n{n}" for n in range(20)]
        for name in names:
            ask(worker, Increment(name, 1, HOUR_MS))
        for name in names[:10]:
            source = own.primary_of(f":counter:{name}")
            own.move(f":counter:{name}", next(one for one in own.primaries if one is not source))
        # In the middle of a move a new key is at its new place already.
        source = own.primary_of(":counter:new")
        own.begin_to_move(":counter:new", next(o for o in own.primaries if o is not source))
        futures = [worker.ask(Increment(name, 1, HOUR_MS), block=False) for name in [*names, "new"]]
        totals = [sum(future.get(timeout=10)[:2]) for future in futures]
        assert totals == [2] * 20 + [1]
    finally:
        worker.stop()


def test_of_a_server_that_is_killed_only_its_keys_are_away_until_its_replica_has_them(
    own: Cluster,
) -> None:
    worker = SnapshotWorker.start(of(own))
    rows = {key: ("k", key, 1, 1, 3, key.encode()) for key in map(str, range(60))}
    try:
        ask(worker, SaveSnapshots(list(rows.values())))
        victim = own.primaries[2]
        theirs = [key for key in rows if own.primary_of(f":snapshot:k:{key}") is victim]
        others = [key for key in rows if key not in theirs]
        own.add_replica(victim)
        victim.client.wait(1, 10_000)
        victim.kill()
        with pytest.raises(StoreUnavailable):
            ask(worker, LoadSnapshot("k", theirs[0]))
        assert at_last(worker, LoadSnapshot("k", others[0])) == rows[others[0]]
        own.fail_over(victim)
        assert at_last(worker, LoadSnapshot("k", theirs[0])) == rows[theirs[0]]
        for key, row in rows.items():
            assert ask(worker, LoadSnapshot("k", key)) == row
        check_redis(of(own))
    finally:
        worker.stop()


def test_a_check_looks_at_every_server(own: Cluster) -> None:
    line = open_line(of(own))
    assert line.execute(("PING",)) == [b"PONG"]
    own.primaries[1].kill()
    (reply,) = line.execute(("PING",))
    assert isinstance(reply, Exception)
    line.close()
    with pytest.raises(StoreUnavailable):
        check_redis(of(own))
