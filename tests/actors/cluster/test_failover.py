"""What becomes of a cluster of nodes when its Valkey fails over, and loses its last second."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import trio

from persistence import PostgresSettings, RedisSettings
from tests.persistence.redis.valkeys import Cluster, Watched, sharded, watched

from .members import ALL, STEADY, MemberNode, member, members, own_cluster, settled, until
from .nodes import open_nodes
from .sample import Add, Log

pytestmark = pytest.mark.failover


@pytest.fixture
def behind_sentinels(tmp_path: Path) -> Iterator[Watched]:
    with watched(tmp_path) as found:
        yield found


@pytest.fixture
def shards(tmp_path: Path) -> Iterator[Cluster]:
    with sharded(tmp_path) as found:
        yield found


def at(url: str) -> RedisSettings:
    return RedisSettings(url=url, timeout_s=2.0)


async def claimed_anew(nodes: list[MemberNode], epoch: int) -> None:
    await until(lambda: min(one.place.epoch(slot) for one in nodes for slot in ALL) > epoch)


async def test_claims_that_a_failover_lost_are_made_again_and_nothing_moves(
    behind_sentinels: Watched, postgres: PostgresSettings, unique: str
) -> None:
    where = own_cluster(at(behind_sentinels.url), postgres, unique)
    where.settings = STEADY
    async with members(where, "ab") as (a, b):
        behind_sentinels.lose_what_comes_now()
        async with member(where, "c") as c:
            nodes = [a, b, c]
            await settled(*nodes)
            held = [node.held() for node in nodes]
            assert all(held)
            epoch = max(a.place.epoch(slot) for slot in ALL)
            for node in nodes:
                node.recorder.forget()
            # The replica believes that a and b hold what c holds, and has never heard of c.
            await trio.to_thread.run_sync(behind_sentinels.fail_over)
            await claimed_anew(nodes, epoch)
            for node, had in zip(nodes, held, strict=True):
                assert node.held() == had
                assert node.recorder.told == []
                assert node.place.current()
            async with member(where, "d") as d:  # as ever
                await settled(*nodes, d)


async def test_the_bus_goes_on_after_a_failover_in_order_and_nothing_comes_twice(
    behind_sentinels: Watched, unique: str
) -> None:
    async with open_nodes(at(behind_sentinels.url), unique) as (a, b):
        ref = a.ref_to(b)
        for number in range(500):
            ref.tell(Add(number))
        assert await ref.ask(Log(), timeout=20) == list(range(500))
        behind_sentinels.lose_what_comes_now()
        for number in range(500, 1000):
            ref.tell(Add(number))
        assert await ref.ask(Log(), timeout=20) == list(range(1000))
        await trio.to_thread.run_sync(behind_sentinels.fail_over)
        for number in range(1000, 1500):
            ref.tell(Add(number))
        assert await ref.ask(Log(), timeout=30) == list(range(1500))
        assert b.cluster.bus.readings().gaps == 0


async def test_nodes_on_a_sharded_valkey_outlive_the_server_that_has_their_claims(
    shards: Cluster, postgres: PostgresSettings, unique: str
) -> None:
    redis = msgspec.structs.replace(at(shards.url), prefix=f"{unique}:")
    where = own_cluster(redis, postgres, unique)
    home = shards.primary_of(f"{unique}:{{cluster}}:nodes")
    where.settings = STEADY
    async with members(where, "ab") as (a, b):
        await settled(a, b)
        epoch = max(a.place.epoch(slot) for slot in ALL)
        held = [a.held(), b.held()]
        shards.add_replica(home)
        await trio.to_thread.run_sync(shards.fail_over, home)
        await claimed_anew([a, b], epoch)
        assert [a.held(), b.held()] == held


async def test_streams_of_nodes_spread_over_a_sharded_valkey(shards: Cluster, unique: str) -> None:
    async with open_nodes(at(shards.url), unique, "abcdef") as nodes:
        for one in nodes:
            for other in nodes:
                one.ref_to(other).tell(Add(1))
        for one in nodes:
            log = await nodes[0].ref_to(one).ask(Log(), timeout=20)
            assert log[-1] == 1
        streams = [each.client.keys("*bus:*") for each in shards.primaries]
        assert sum(map(len, streams)) == len(nodes)
        assert sum(map(bool, streams)) > 1
