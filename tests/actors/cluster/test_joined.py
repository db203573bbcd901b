"""Nodes that are members of a cluster on real stores, and talk to each other by its bus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
import trio

from actors import ActorDeadError, ActorFailed, ActorSystem, Kind
from actors.cluster.admission import LabelsDiffer
from actors.cluster.cluster import Cluster
from actors.cluster.errors import NoNode
from actors.cluster.joining import Joining
from actors.cluster.membership import NodeMembership
from actors.cluster.rules.slots import SLOTS, slot_of
from actors.cluster.rules.view import Descriptor
from actors.cluster.settings import MembershipSettings
from persistence import PostgresSettings, RedisSettings
from persistence.postgres.held import hold_actor
from persistence.settings import BusSettings

from .members import Where, member, own_cluster, settled, until
from .sample import Add, Get, Tally

SETTINGS = MembershipSettings(lease_s=10.0, move_slots_per_s=100_000)
"""A long lease: nobody dies here, and the machine may be busy."""


@asynccontextmanager
async def node(
    where: Where,
    name: str,
    log: list[int],
    *,
    kinds: tuple[str, ...] = (),
    labels: tuple[str, ...] = (),
    kept: Mapping[str, str] | None = None,
) -> AsyncIterator[tuple[ActorSystem, Cluster]]:
    """A node whose actors keep what they are told in this list, on whatever node they are.

    `kinds`: those that it knows, and says that it knows. `labels`: what it is for. `kept`: what it
    says of which kinds are kept to labels.
    """

    class Shared(Tally):
        def __init__(self, key: str) -> None:
            super().__init__(key)
            self.taken = log

    descriptor = Descriptor(name=name, kinds=kinds, labels=labels, kept=kept or {})
    joining = Joining(descriptor, where.redis, where.postgres, SETTINGS)
    cluster = Cluster(joining, where.redis, BusSettings(block_s=0.02, canary_s=0.1))
    async with ActorSystem(name, cluster=cluster, default_timeout_s=20.0) as system:
        for kind in kinds or ("tally", "shared"):
            factory = Shared if kind == "shared" else Tally
            system.register(Kind(kind, factory, placement="hashed"))
        yield system, cluster


async def test_nodes_that_have_joined_reach_each_others_actors(
    redis: RedisSettings, postgres: PostgresSettings, unique: str
) -> None:
    where = own_cluster(redis, postgres, unique)
    async with node(where, "a", []) as (a, in_a), node(where, "b", []) as (b, in_b):
        await until(lambda: both(in_a, in_b))
        refs = [a.ref("tally", str(number)) for number in range(40)]
        for number, ref in enumerate(refs):
            assert await ref.ask(Add(number)) == number
        for number, ref in enumerate(refs):
            assert await b.ref("tally", ref.key).ask(Get()) == number
        assert 0 < len(list(a.actors("tally"))) < 40
        assert len(list(a.actors("tally"))) + len(list(b.actors("tally"))) == 40
        assert in_a.healthy()
        assert in_b.healthy()


async def test_a_thousand_actors_that_are_asked_for_at_once_live_once_each(
    redis: RedisSettings, postgres: PostgresSettings, unique: str
) -> None:
    """While both nodes are just about to share the slots."""
    where = own_cluster(redis, postgres, unique)
    async with node(where, "a", []) as (a, _), node(where, "b", []) as (b, _):
        asked = 0

        async def add(system: ActorSystem, key: str) -> None:
            nonlocal asked
            await system.ref("tally", key).ask(Add(1))
            asked += 1

        async with trio.open_nursery() as nursery:
            for number in range(1000):
                nursery.start_soon(add, a if number % 2 else b, str(number))
        assert asked == 1000
        lives = [cell.key for system in (a, b) for cell in system.actors("tally")]
        assert len(lives) == len(set(lives))


async def test_a_node_that_leaves_hands_its_actors_over_in_order(
    redis: RedisSettings, postgres: PostgresSettings, unique: str
) -> None:
    where = own_cluster(redis, postgres, unique)
    log: list[int] = []
    async with node(where, "a", log) as (a, in_a), trio.open_nursery() as nursery:
        stay = trio.CancelScope()

        async def other(*, task_status: trio.TaskStatus[Cluster]) -> None:
            async with node(where, "b", log) as (_, in_b):
                task_status.started(in_b)
                with stay:
                    await trio.sleep_forever()

        in_b = await nursery.start(other)
        await until(lambda: both(in_a, in_b))
        key = next(
            key
            for key in map(str, range(SLOTS))
            if in_a.place.holder(slot_of("shared", key)) == in_b.place.me
        )
        ref = a.ref("shared", key)
        await ref.ask(Add(0))
        sent = 1

        async def send() -> None:
            nonlocal sent
            while True:
                ref.tell(Add(sent))
                sent += 1
                await trio.sleep(0.001)

        nursery.start_soon(send)
        await trio.sleep(0.1)
        stay.cancel()
        await until(lambda: a.lookup("shared", key) is not None)
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert log == sorted(set(log))
    assert log[-1] == sent - 1


def at_rest(*clusters: Cluster) -> bool:
    """Whether each node knows all others, and holds what it should."""
    places = [one.place for one in clusters]
    return all(
        isinstance(place, NodeMembership)
        and place.settled()
        and place.view().nodes.keys() == {other.me for other in places}
        for place in places
    )


def both(one: Cluster, other: Cluster) -> bool:
    """Whether both hold slots and agree on whose each one is, by a look at some."""
    if not at_rest(one, other):
        return False
    some = range(0, SLOTS, 64)
    holders = [one.place.holder(slot) for slot in some]
    return holders == [other.place.holder(slot) for slot in some] and set(holders) == {
        one.place.me,
        other.place.me,
    }


# --- nodes of two versions ------------------------------------------------------------------------


async def test_what_is_placed_on_a_node_that_does_not_know_its_kind_is_refused_at_once(
    redis: RedisSettings, postgres: PostgresSettings, unique: str
) -> None:
    """An older node beside a newer one, which has one kind more and one less."""
    where = own_cluster(redis, postgres, unique)
    old = node(where, "old", [], kinds=("tally", "dropped"))
    new = node(where, "new", [], kinds=("tally", "added"))
    async with old as (a, in_old), new as (b, in_new):
        await until(lambda: both(in_old, in_new))
        for system, here, kind in ((a, in_old, "dropped"), (b, in_new, "added")):
            answers: list[int] = []
            refused = 0
            for number in range(40):
                ref = system.ref(kind, f"{number}")
                held_here = here.place.holder(slot_of(kind, ref.key)) == here.place.me
                if held_here:
                    answers.append(await ref.ask(Add(1)))
                    continue
                with pytest.raises(ActorDeadError, match="does not know this kind of actor"):
                    await ref.ask(Add(1), timeout=60)
                refused += 1
            assert answers == [1] * len(answers)
            assert 0 < refused < 40
        # What both know works in both directions.
        for number in range(40):
            assert await a.ref("tally", f"{number}").ask(Add(1)) == 1
            assert await b.ref("tally", f"{number}").ask(Add(1)) == 2


async def test_a_node_gets_nothing_before_it_says_that_it_is_ready(
    redis: RedisSettings, postgres: PostgresSettings, unique: str
) -> None:
    where = own_cluster(redis, postgres, unique)
    async with (
        member(where, "a") as a,
        member(where, "b", pools=()) as b,
    ):
        await until(lambda: b.place.me in a.place.view() and len(a.held()) == SLOTS)
        # By the second heartbeat from now on it has heard who holds what.
        beats = b.place.beats
        await until(lambda: b.place.beats > beats + 1)
        assert b.place.settled()
        assert not b.held()
        await b.place.host()
        await settled(a, b)
        assert 0 < len(b.held()) < SLOTS


KEPT = {"tally": "games"}


async def test_a_kind_is_kept_to_the_nodes_with_its_label(
    redis: RedisSettings, postgres: PostgresSettings, unique: str
) -> None:
    where = own_cluster(redis, postgres, unique)
    async with (
        node(where, "a", [], kept=KEPT) as (a, in_a),
        node(where, "b", [], labels=("games",), kept=KEPT) as (b, in_b),
        node(where, "c", [], labels=("games", "any"), kept=KEPT) as (c, in_c),
    ):
        systems, clusters = (a, b, c), (in_a, in_b, in_c)
        await until(lambda: at_rest(*clusters))
        for number in range(60):
            for kind in ("tally", "shared"):
                await systems[number % 3].ref(kind, str(number)).ask(Add(number))
        for kind, there in (("tally", (b, c)), ("shared", (a, c))):
            found = {one: len(list(one.actors(kind))) for one in systems}
            assert {one for one, count in found.items() if count} == set(there), kind
            assert sum(found.values()) == 60
        assert in_a.without_nodes() == {}


async def test_without_a_node_for_its_label_a_kind_is_refused_at_once_until_there_is_one(
    redis: RedisSettings, postgres: PostgresSettings, unique: str
) -> None:
    where = own_cluster(redis, postgres, unique)
    async with node(where, "a", [], kept=KEPT) as (a, in_a):
        with pytest.raises(NoNode, match=r"^tally/1: no living node has the label 'games'$"):
            await a.ref("tally", "1").ask(Add(1))
        await a.ref("shared", "1").ask(Add(1))
        await until(lambda: in_a.without_nodes() == {"games": ["tally"]})
        async with node(where, "b", [], labels=("games",), kept=KEPT) as (b, _):
            await until(lambda: not in_a.without_nodes())
            await a.ref("tally", "1").ask(Add(1))
            assert [ref.key for ref in b.actors("tally")] == ["1"]
            assert not list(a.actors("tally"))
        with pytest.raises(NoNode):
            await a.ref("tally", "1").ask(Add(1))


async def test_a_node_that_keeps_a_kind_elsewhere_does_not_join(
    redis: RedisSettings, postgres: PostgresSettings, unique: str
) -> None:
    where = own_cluster(redis, postgres, unique)
    async with node(where, "a", [], kept=KEPT) as (_, in_a):
        other: Mapping[str, str]
        for other, there in (({}, "to no label"), ({"tally": "any"}, "to the label 'any'")):
            with pytest.raises(LabelsDiffer, match=f"'tally' to the label 'games', .* {there}"):
                async with node(where, "b", [], kept=other):
                    pass
        assert list(in_a.place.view().nodes) == [in_a.place.me]


def test_only_what_the_cluster_places_can_be_kept_to_a_label() -> None:
    Kind("tally", Tally, placement="hashed", label="games")
    with pytest.raises(ValueError, match="has no label"):
        Kind("tally", Tally, placement="node", label="games")


async def test_an_actor_that_a_node_was_caught_in_is_started_by_no_node_before_its_time(
    redis: RedisSettings, postgres: PostgresSettings, unique: str
) -> None:
    where = own_cluster(redis, postgres, unique)

    def hold(key: str, first_s: float) -> tuple[int, float]:
        return hold_actor(where.postgres, "tally", key, node="b", first_s=first_s)

    hold("2", 3600.0)
    async with node(where, "a", []) as (a, in_a), node(where, "b", []) as (b, in_b):
        await until(lambda: both(in_a, in_b))
        for system in (a, b):  # as one that has just joined knows
            with pytest.raises(ActorFailed, match=r"tally/2 failed: .*a node was caught"):
                await system.ref("tally", "2").ask(Add(1))
        await a.ref("tally", "1").ask(Add(1))
        hold("1", 3600.0)
        hold("3", 3600.0)
        await until(lambda: in_a.held_actors.count() == in_b.held_actors.count() == 3)
        with pytest.raises(ActorFailed):
            await a.ref("tally", "3").ask(Add(1))
        assert await a.ref("tally", "1").ask(Get()) == 1, "it runs, so it is no danger"
        key = next(
            key
            for key in map(str, range(10, SLOTS))
            if in_a.place.holder(slot_of("tally", key)) == in_a.place.me
        )
        in_a.held_actors.hold({("tally", key): 0.2})
        refused = a.ref("tally", key).ask(Add(1))
        assert isinstance(refused.exception(), ActorFailed)
        await until(lambda: a.belongs_here("tally", key))
        assert await a.ref("tally", key).ask(Add(1)) == 1


def test_each_further_hang_holds_an_actor_ten_times_longer_up_to_a_day(
    redis: RedisSettings, postgres: PostgresSettings, unique: str
) -> None:
    where = own_cluster(redis, postgres, unique).postgres
    held = [hold_actor(where, "match", "1", node="a", first_s=60.0) for _ in range(12)]
    assert held[:4] == [(1, 60.0), (2, 600.0), (3, 6000.0), (4, 60000.0)]
    assert set(held[4:]) == {(number, 86400.0) for number in range(5, 13)}
    assert hold_actor(where, "match", "2", node="a", first_s=1.0) == (1, 1.0)
