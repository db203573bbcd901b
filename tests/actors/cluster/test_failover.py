"""What becomes of a cluster of nodes when its Valkey fails over, and loses its last second."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from persistence import PostgresSettings, RedisSettings
from persistence.redis.connection import connect
from tests.persistence.redis.valkeys import Cluster, Watched, sharded, watched

from .links import link_to_valkey
from .members import (
    ALL,
    SETTINGS,
    STEADY,
    MemberNode,
    member,
    members,
    own_cluster,
    settled,
    until,
)
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


async def test_a_node_that_finds_the_new_primary_later_than_others_lives_on(
    redis: RedisSettings, postgres: PostgresSettings, unique: str
) -> None:
    """Its lease is over meanwhile, and Valkey answers the others: it is not the one cut off."""
    where = own_cluster(redis, postgres, unique)
    with (
        link_to_valkey(where.redis) as (link_a, to_a),
        link_to_valkey(where.redis) as (link_b, to_b),
    ):
        async with member(where, "a", redis=to_a) as a, member(where, "b", redis=to_b) as b:
            await settled(a, b)
            held = [a.held(), b.held()]
            a.recorder.forget()
            b.recorder.forget()
            link_a.cut()
            link_b.cut()
            client: Any = connect(where.redis)  # the new primary has none of it
            client.delete(*client.keys(f"{where.redis.prefix}*"))
            client.close()
            last = b.place.lease.renewed_s
            link_a.mend()
            await until(lambda: a.place.lease.renewed_s > last + SETTINGS.lease_s)
            link_b.mend()
            await until(lambda: b.place.lease.renewed_s > last + 2 * SETTINGS.lease_s)
            for node, had in zip((a, b), held, strict=True):
                assert node.place.ended is None
                assert node.held() == had
                assert node.recorder.told == []


async def test_a_primary_that_hangs_for_more_than_half_a_lease_ends_no_node(
    tmp_path: Path, postgres: PostgresSettings, unique: str
) -> None:
    with watched(tmp_path, down_ms=round(SETTINGS.lease_s * 500)) as found:
        where = own_cluster(at(found.url), postgres, unique)
        async with members(where, "abc") as nodes:
            epoch = max(nodes[0].place.epoch(slot) for slot in ALL)
            held = [node.held() for node in nodes]
            for node in nodes:
                node.recorder.forget()
            await trio.to_thread.run_sync(found.hang)
            await claimed_anew(nodes, epoch)
            for node, had in zip(nodes, held, strict=True):
                assert node.place.ended is None
                assert node.held() == had
                assert node.recorder.told == []


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
