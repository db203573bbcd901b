"""Nodes on real stores: who joins, who dies, who is cut off, and what becomes of the slots."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
import trio

import actors.cluster
from actors import Actor, handles
from actors.cluster.admission import NameTaken, VersionsDiffer
from actors.cluster.membership import seconds_since_boot
from actors.cluster.rules.rendezvous import Rendezvous
from actors.cluster.rules.slots import SLOTS, slots_of_pool
from actors.cluster.rules.view import VERSION
from persistence import PostgresSettings, RedisSettings, StoresDiffer, StoreUnavailable
from persistence.postgres import migrate
from persistence.redis.connection import connect

from .links import link_to_postgres, link_to_valkey
from .members import (
    ALL,
    SETTINGS,
    STEADY,
    MemberNode,
    Where,
    member,
    members,
    own_cluster,
    settled,
    until,
)


@pytest.fixture
def where(redis: RedisSettings, postgres: PostgresSettings, unique: str) -> Where:
    return own_cluster(redis, postgres, unique)


@pytest.fixture
def steady(where: Where) -> Where:
    where.settings = STEADY
    return where


def in_register(where: Where, statement: str, *arguments: Any) -> list[Any]:
    with psycopg.connect(where.postgres.url) as connection:
        cursor = connection.execute(
            statement.replace("nodes", f"{where.postgres.schema}.nodes").encode(), arguments
        )
        return cursor.fetchall() if cursor.description else []


LEASE_S = SETTINGS.lease_s


async def die(node: MemberNode) -> None:
    """What the others see of a node that is killed: nothing is heard of it any more."""
    node.place.over.set()
    await trio.lowlevel.checkpoint()


# --- joining and leaving --------------------------------------------------------------------------


async def test_the_first_node_holds_all_slots_at_once(steady: Where) -> None:
    async with member(steady, "a") as a:
        await until(lambda: a.recorder.slots_of("taken") == ALL)
        assert {a.place.holder(slot) for slot in ALL} == {"a.1"}
        assert "a.1" in a.place.view()
        assert a.place.current()


async def test_of_a_node_that_joins_only_its_share_moves_by_hand_over(steady: Where) -> None:
    async with members(steady, "ab") as (a, b):
        a.recorder.forget()
        b.recorder.forget()
        before = {slot: a.place.holder(slot) for slot in ALL}
        desired = Rendezvous(slots_of_pool(0))
        desired.update({"a": 1.0, "b": 1.0})
        share = desired.update({"a": 1.0, "b": 1.0, "c": 1.0})
        async with member(steady, "c") as c:
            await settled(a, b, c)
            assert c.held() == share
            for slot in ALL - share:
                assert a.place.holder(slot) == before[slot]
            assert a.recorder.of("up") == b.recorder.of("up") == ["c.3"]
            given = a.recorder.given | b.recorder.given
            assert given == dict.fromkeys(share, "c.3")
            assert a.recorder.slots_of("moved") == share
            assert not a.recorder.of("taken")
            assert c.recorder.slots_of("taken") == share


async def test_a_node_of_double_weight_gets_double(steady: Where) -> None:
    async with member(steady, "a") as a, member(steady, "b", weight=2.0) as b:
        await settled(a, b)
        assert len(b.held()) == pytest.approx(SLOTS * 2 / 3, rel=0.05)


async def test_a_node_that_leaves_hands_over_all_it_has(steady: Where) -> None:
    async with members(steady, "a") as (a,):
        async with member(steady, "b") as b:
            await settled(a, b)
            held = b.held()
            a.recorder.forget()
        assert b.recorder.of("fenced") == []
        assert b.recorder.given == dict.fromkeys(held, "a.1")
        assert in_register(steady, "SELECT why FROM nodes WHERE id = 'b.2'") == [("it has left",)]
        await settled(a)
        assert a.recorder.of("down") == ["b.2"]
        assert a.recorder.slots_of("taken") == held


async def test_what_one_node_gets_does_not_wait_for_the_actors_that_another_gets(
    steady: Where,
) -> None:
    async with members(steady, "abc") as (a, b, c):
        b.recorder.forget()
        c.recorder.forget()
        held = a.held()
        a.recorder.slow[c.place.me] = stopped = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.place.leave)
            await until(lambda: b.recorder.slots_of("taken"))
            assert not c.recorder.slots_of("taken")
            stopped.set()
        await settled(b, c)
        assert b.recorder.slots_of("taken") | c.recorder.slots_of("taken") == held


async def test_nodes_that_start_at_once_agree(steady: Where) -> None:
    nodes: list[MemberNode] = []
    over = trio.Event()

    async def run(name: str) -> None:
        async with member(steady, name) as node:
            nodes.append(node)
            await over.wait()

    async with trio.open_nursery() as nursery:
        for name in "abcd":
            nursery.start_soon(run, name)
        await until(lambda: len(nodes) == 4)
        await settled(*nodes)
        over.set()


async def test_hand_overs_go_no_faster_than_they_may(steady: Where) -> None:
    slow = msgspec.structs.replace(STEADY, move_slots_per_s=1000)
    steady.settings = slow
    async with member(steady, "a") as a:
        await settled(a)
        async with member(steady, "b") as b:
            await until(lambda: b.recorder.of("taken"))
            at_once = {len(slots) for slots in a.recorder.of("give up")}  # type: ignore[arg-type]
            assert at_once == {round(slow.move_slots_per_s * slow.timing.beat_s)}


# --- names ----------------------------------------------------------------------------------------


async def test_a_living_node_of_the_same_name_refuses_the_second(steady: Where) -> None:
    async with members(steady, "a") as (a,):
        with pytest.raises(NameTaken, match=r"a\.1 lives and has this name"):
            async with member(steady, "a"):
                pass
        assert a.place.current()
        assert a.recorder.of("moved") == []


async def test_a_name_that_is_none_for_a_node_is_refused(steady: Where) -> None:
    with pytest.raises(ValueError, match="a node's name has"):
        async with member(steady, "a.b"):
            pass


async def test_a_killed_node_of_this_machine_is_replaced_at_once(steady: Where) -> None:
    async with member(steady, "a") as a:
        await die(a)
        in_register(steady, "UPDATE nodes SET process = replace(process, '\"pid\":', '\"pid\":9')")
        async with member(steady, "a") as again:
            assert again.place.me == "a.2"
            assert again.place.view().nodes.keys() == {"a.2"}
            await settled(again)


async def test_one_that_vanished_elsewhere_is_replaced_once_its_lease_is_over(where: Where) -> None:
    async with member(where, "a") as a:
        await die(a)
        async with member(where, "a") as again:
            assert again.place.me == "a.2"
            await settled(again)
        why = in_register(where, "SELECT why FROM nodes WHERE id = 'a.1'")
        assert why == [("another one has its name",)]


# --- who does not go with the others --------------------------------------------------------------


async def test_a_node_with_another_valkey_than_the_others_does_not_join(where: Where) -> None:
    other = msgspec.structs.replace(where.redis, prefix=f"{where.redis.prefix}other:")
    async with members(where, "ab") as (a, b):
        with pytest.raises(StoresDiffer, match=r"[ab]\.\d of this register lives with another Val"):
            async with member(where, "c", redis=other):
                pass
        assert a.place.view().nodes.keys() == b.place.view().nodes.keys() == {"a.1", "b.2"}
        assert (a.place.current(), b.place.current()) == (True, True)


async def test_a_node_with_another_register_than_the_others_does_not_join(
    where: Where, unique: str
) -> None:
    other = msgspec.structs.replace(where.postgres, schema=f"{unique}other")
    migrate(other)
    async with members(where, "a") as (a,):
        held = a.held()
        with pytest.raises(StoresDiffer, match="nodes whose register is another one live in this"):
            async with member(where, "b", postgres=other):
                pass
        assert (a.held(), a.place.current()) == (held, True)
    async with member(where, "b", postgres=other) as b:  # what has ended is in nobody's way
        await settled(b)


async def test_a_node_joins_a_valkey_that_was_flushed_a_moment_ago(steady: Where) -> None:
    async with members(steady, "ab") as nodes:
        client: Any = connect(steady.redis)
        client.delete(*client.keys(f"{steady.redis.prefix}*"))
        client.close()
        async with member(steady, "c") as c:
            await settled(*nodes, c)


@pytest.mark.parametrize(
    ("version", "understood", "why"),
    [
        (VERSION + 1, VERSION + 1, "it is too old"),
        (VERSION - 1, VERSION - 1, "this node is too old"),
    ],
)
async def test_a_node_that_the_others_do_not_understand_does_not_join(
    steady: Where, version: int, understood: int, why: str
) -> None:
    async with members(steady, "a") as (a,):
        with pytest.raises(VersionsDiffer, match=f"a.1 lives and speaks version .* {why}"):
            async with member(steady, "b", version=version, understood=understood):
                pass
        assert a.place.view().nodes.keys() == {"a.1"}


async def test_versions_that_understand_each_other_live_together(steady: Where) -> None:
    newer = member(steady, "b", version=VERSION + 1, understood=VERSION)
    async with member(steady, "a") as a, newer as b:
        await settled(a, b)


# --- death ----------------------------------------------------------------------------------------


async def test_what_a_dead_node_held_is_taken_by_the_others(where: Where) -> None:
    async with members(where, "abc") as (a, b, c):
        held = c.held()
        for node in (a, b):
            node.recorder.forget()
        await die(c)
        await settled(a, b)
        for node in (a, b):
            assert node.recorder.of("down") == ["c.3"]
            assert not node.recorder.of("give up")
        assert a.recorder.slots_of("taken") | b.recorder.slots_of("taken") == held


async def test_a_node_that_was_buried_hears_of_it_and_stops(steady: Where) -> None:
    async with members(steady, "ab") as (_, b):
        in_register(steady, "UPDATE nodes SET buried_at = now(), why = 'by hand' WHERE id = 'b.2'")
        await b.place.over.wait()
        assert b.recorder.told[-1] == ("fenced", "it was buried: by hand")
        assert not b.place.current()
        assert not b.held()


async def test_only_its_link_to_valkey_is_cut(where: Where) -> None:
    """It stops before the others take what it held."""
    with link_to_valkey(where.redis) as (link, redis):
        async with members(where, "a") as (a,), member(where, "b", redis=redis) as b:
            await settled(a, b)
            held = b.held()
            order: list[str] = []
            b.recorder.fenced = lambda why: order.append(f"b is fenced: {why}")  # type: ignore[method-assign]
            a.recorder.node_down = lambda node: order.append(f"{node} is buried")  # type: ignore[method-assign]
            link.cut()
            await settled(a)
            assert order == ["b is fenced: its lease is over", "b.2 is buried"]
            assert a.recorder.slots_of("taken") >= held


async def test_a_node_that_reaches_neither_store_stops(where: Where) -> None:
    with (
        link_to_valkey(where.redis) as (valkey, redis),
        link_to_postgres(where.postgres) as (register, postgres),
    ):
        async with member(where, "a", redis=redis, postgres=postgres) as a:
            await settled(a)
            valkey.cut()
            register.cut()
            await a.place.over.wait()
            assert a.recorder.told[-1] == ("fenced", "its lease is over")
            assert not a.held()


# --- stores that are away -------------------------------------------------------------------------


async def test_while_valkey_is_away_everybody_serves_on(where: Where) -> None:
    with link_to_valkey(where.redis) as (link, redis):
        via = Where(redis, where.postgres)
        async with members(via, "abc") as nodes:
            held = [node.held() for node in nodes]
            for node in nodes:
                node.recorder.forget()
            link.cut()
            began = seconds_since_boot()
            await until(lambda: all(lived_on(node) > began + 2 * LEASE_S for node in nodes))
            with pytest.raises(StoreUnavailable):  # nobody is admitted
                async with member(via, "d"):
                    pass
            link.mend()
            renewed = seconds_since_boot()
            await until(lambda: all(renewal(node) > renewed + LEASE_S for node in nodes))
            for node, had in zip(nodes, held, strict=True):
                assert node.recorder.told == []
                assert node.held() == had


def lived_on(node: MemberNode) -> float:
    """Until when the register lets it live."""
    return node.place.lease.excused_s


def renewal(node: MemberNode) -> float:
    return node.place.lease.renewed_s


async def test_while_postgresql_is_away_nobody_is_buried(where: Where) -> None:
    with link_to_postgres(where.postgres) as (link, postgres):
        via = Where(where.redis, postgres)
        async with members(via, "abc") as (a, b, c):
            link.cut()
            await die(c)
            cut = seconds_since_boot()
            await until(lambda: min(renewal(a), renewal(b)) > cut + 2 * LEASE_S)
            assert "c.3" in a.place.view()
            assert a.place.current()
            link.mend()
            await settled(a, b)
            assert a.recorder.of("down") == b.recorder.of("down") == ["c.3"]


async def test_a_flush_of_valkey_moves_nothing(steady: Where) -> None:
    async with members(steady, "abc") as nodes:
        held = [node.held() for node in nodes]
        epoch = max(nodes[0].place.epoch(slot) for slot in ALL)
        for node in nodes:
            node.recorder.forget()
        client: Any = connect(steady.redis)
        client.delete(*client.keys(f"{steady.redis.prefix}*"))
        client.close()
        await until(lambda: min(one.place.epoch(slot) for one in nodes for slot in ALL) > epoch)
        for node, had in zip(nodes, held, strict=True):
            assert node.recorder.told == []
            assert node.held() == had
        # Afterwards all goes on as before.
        async with member(steady, "d") as d:
            await settled(*nodes, d)


async def test_what_a_dead_node_held_when_valkey_was_flushed_is_taken(where: Where) -> None:
    async with members(where, "ab") as (a, b):
        client: Any = connect(where.redis)
        client.delete(*client.keys(f"{where.redis.prefix}*"))
        client.close()
        await die(b)
        await settled(a)
        assert a.recorder.of("down") == ["b.2"]


# --- clocks ---------------------------------------------------------------------------------------


async def test_clocks_that_are_an_hour_apart_do_no_harm(where: Where) -> None:
    async with (
        member(where, "a", clock=lambda: seconds_since_boot() + 3600.0) as a,
        member(where, "b", clock=lambda: seconds_since_boot() - 3600.0) as b,
    ):
        await settled(a, b)
        await die(b)
        await settled(a)


def test_no_module_of_the_cluster_asks_for_the_time_of_day() -> None:
    folder = Path(actors.cluster.__path__[0])
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "time":
                assert node.attr not in {"time", "time_ns"}, (path, node.lineno)
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert "datetime" not in ast.unparse(node), (path, node.lineno)


class Witness(Actor):
    """Remembers what its node was when a message came."""

    def __init__(self, node: MemberNode) -> None:
        super().__init__()
        self.node = node
        self.seen: list[tuple[str | None, bool]] = []

    @handles(str)
    def look(self, _: str) -> list[tuple[str | None, bool]]:
        place = self.node.place
        self.seen.append((place.ended, place.holder(0) == place.me))
        return self.seen


async def test_after_a_freeze_the_look_at_the_clock_comes_before_the_next_message(
    steady: Where,
) -> None:
    ahead = 0.0
    async with member(steady, "a", clock=lambda: seconds_since_boot() + ahead) as a:
        await settled(a)
        witness = a.system.start(Witness, a)
        await witness.ask("before")
        ahead = STEADY.lease_s
        await trio.lowlevel.checkpoint()
        seen = await witness.ask("after")
        assert seen == [(None, True), ("its lease is over", False)]
        assert a.recorder.told[-1] == ("fenced", "its lease is over")
        assert not a.place.current()
        assert a.place.over.is_set()
