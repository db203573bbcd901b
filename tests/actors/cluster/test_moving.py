"""Slots that change their holder, and nodes that die or are cut off."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from itertools import islice

import msgspec
import pykka
import pytest
import trio

import actors
from actors import ActorRef, AskTimeout, Future, Kind, MailboxFull, Terminated
from actors.cluster import cluster as cluster_module
from actors.cluster.codec import KindCodec, Names
from actors.cluster.errors import DeliveryUnknown, NotHere
from actors.cluster.fixed import FixedPlace
from actors.cluster.items import Ask, Forwarded, encode_item
from actors.cluster.questions import Question
from actors.cluster.rules.slots import slot_of, slot_of_kind
from actors.runtime.memory import MemoryEventStore
from actors.runtime.testing import Probe
from persistence import RedisSettings
from persistence.redis.connection import connect
from persistence.settings import BusSettings

from .nodes import KINDS, NodeUnderTest, open_node, open_nodes
from .sample import Add, Enter, Get, Later, Ledger, Log, Nap, Refuse, SetLater, Tally


def moved(nodes: list[NodeUnderTest], slot: int, to: NodeUnderTest | None) -> None:
    """All nodes learn of it at the same time."""
    for node in nodes:
        node.place.hand_over([slot], None if to is None else to.id)


async def test_an_actor_that_is_handed_over_goes_on_elsewhere_and_no_message_is_lost(
    redis: RedisSettings, unique: str
) -> None:
    async with open_nodes(redis, unique, "abc") as nodes:
        a, b, c = nodes
        ref = a.ref_to(b)
        slot = slot_of("tally", ref.key)
        for number in range(10):
            ref.tell(Add(number))
        assert await ref.ask(Log()) == list(range(10))
        napping = ref.ask(Nap(0.1))
        for number in range(10, 20):
            ref.tell(Add(number))
        await trio.sleep(0.03)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(b.place.give_up, [slot], c.id)
            await trio.sleep(0.02)
            for number in range(20, 30):
                ref.tell(Add(number))
            asked = b.system.ref("tally", ref.key).ask(Get(), timeout=20)
        assert await napping == "awake"
        assert b.system.lookup("tally", ref.key) is None
        for number in range(30, 40):  # these arrive where nobody holds the slot
            ref.tell(Add(number))
        await trio.sleep(0.05)
        moved(nodes, slot, c)
        for number in range(40, 50):
            ref.tell(Add(number))
        with trio.fail_after(20):
            while sorted(await ref.ask(Log())) != list(range(20, 50)):
                await trio.sleep(0.01)
        assert c.system.lookup("tally", ref.key) is not None
        assert b.system.lookup("tally", ref.key) is None
        assert await asked >= 0
        assert all(node.system.dead_letters.count == 0 for node in nodes)


def total(node: NodeUnderTest, ref: ActorRef) -> int:
    """What a tally of this node has counted so far."""
    cell = node.system.lookup(ref.kind, ref.key)
    tally = None if cell is None else cell.actor_or_none()
    return 0 if tally is None else sum(tally.taken)


async def test_the_answer_of_an_actor_that_came_here_meanwhile_is_there_before_what_follows(
    redis: RedisSettings, unique: str
) -> None:
    async with open_nodes(redis, unique, "ab") as nodes:
        a, b = nodes
        ref = a.ref_to(b)
        slot = slot_of("tally", ref.key)
        b.place.hand_over([slot], a.id)
        asked = ref.ask(Add(1), timeout=20)
        with trio.fail_after(20):
            while not a.cluster.routes.waiting.count:
                await trio.sleep(0.005)
        a.place.hand_over([slot], a.id)
        with trio.fail_after(20):
            while not total(a, ref):
                await trio.sleep(0)
        assert asked.done
        assert await asked == 1


async def test_answers_of_other_nodes_are_settled_in_their_turn(
    redis: RedisSettings, unique: str
) -> None:
    async with open_nodes(redis, unique, "ab") as nodes:
        a, b = nodes
        turns: list[Callable[[], None]] = []
        a.cluster.settle_in_turn(turns.append)
        answers = [a.ref_to(b).ask(Add(1), timeout=20), a.ref_to(b).ask(Refuse(), timeout=20)]
        with trio.fail_after(20):
            while len(turns) < len(answers):
                await trio.sleep(0.005)
        assert not any(answer.done for answer in answers)
        for settle in turns:
            settle()
        assert answers[0].result() == 1
        assert isinstance(answers[1].exception(), actors.Refusal)


async def test_what_an_actor_has_logged_is_durable_before_another_node_has_it(
    redis: RedisSettings, unique: str
) -> None:
    events = MemoryEventStore()
    kind = Kind("ledger", Ledger, placement="hashed")
    async with open_nodes(redis, unique, "abc", kinds=[kind]) as nodes:
        a, b, c = nodes
        for node in nodes:
            node.system.use_stores(events)
        ref = a.ref_to(b, "ledger")
        slot = slot_of("ledger", ref.key)
        assert await ref.ask(Enter(1)) == 1
        events.delay_s = 0.2
        entering = ref.ask(Enter(2))
        with trio.fail_after(20):
            while not b.system.journal.statistics().waiting_events:
                await trio.sleep(0.005)
        await b.place.give_up([slot], c.id)
        assert [row[2] for row in events.rows("ledger", ref.key)] == [1, 2]
        moved(nodes, slot, c)
        assert await entering == 3
        assert await ref.ask(Enter(3)) == 6


async def test_a_slot_is_handed_over_without_waiting_for_what_actors_of_others_have_logged(
    redis: RedisSettings, unique: str
) -> None:
    events = MemoryEventStore()
    kind = Kind("ledger", Ledger, placement="hashed")
    async with open_nodes(redis, unique, "ab", kinds=[kind]) as nodes:
        a, b = nodes
        for node in nodes:
            node.system.use_stores(events)
        quiet, busy = islice(b.keys("ledger"), 2)
        for key in (quiet, busy):
            assert await b.system.ref("ledger", key).ask(Enter(1)) == 1
        events.away = True
        entering = b.system.ref("ledger", busy).ask(Enter(2), timeout=20)
        with trio.fail_after(20):
            while not b.system.journal.statistics().waiting_events:
                await trio.sleep(0.005)
            await b.place.give_up([slot_of("ledger", quiet)], a.id)
        assert not entering.done
        events.away = False
        assert await entering == 3


class Gate(Tally):
    """Puts aside what it should add, until it is asked for the log."""

    open = False

    @actors.handles(Add)
    def add(self, message: Add) -> int:
        if not self.open:
            self.stash()
        return super().add(message)

    @actors.handles(Log)
    def get_log(self, message: Log) -> list[int]:
        self.open = True
        self.unstash()
        return super().get_log(message)


async def test_what_an_actor_has_put_aside_goes_with_its_slot(
    redis: RedisSettings, unique: str
) -> None:
    kind = Kind("tally", Gate, placement="hashed")
    async with open_nodes(redis, unique, "abc", kinds=[kind]) as nodes:
        a, b, c = nodes
        ref = a.ref_to(b)
        slot = slot_of("tally", ref.key)
        asked = ref.ask(Add(1), timeout=20)
        ref.tell(Add(2))
        await ref.ask(Get())
        await b.place.give_up([slot], c.id)
        moved(nodes, slot, c)
        await ref.ask(Log())
        assert await asked == 1
        assert await ref.ask(Log()) == [1, 2]


async def test_order_is_kept_while_a_slot_goes_from_node_to_node(
    redis: RedisSettings, unique: str
) -> None:
    log: list[int] = []  # of all incarnations, on whatever node

    class Shared(Tally):
        def __init__(self, key: str) -> None:
            super().__init__(key)
            self.taken = log

    kind = Kind("tally", Shared, placement="hashed")
    async with open_nodes(redis, unique, "abcd", kinds=[kind]) as nodes:
        a, b, c, d = nodes
        refs = [node.ref_to(b) for node in nodes]
        slot = slot_of("tally", refs[0].key)
        sent = 0

        async def send() -> None:
            nonlocal sent
            for _ in range(400):
                for _ in range(5):
                    for which, ref in enumerate(refs):
                        ref.tell(Add(sent * len(refs) + which))
                    sent += 1
                await trio.sleep(0.001)

        holder = b
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            for to, learners in (
                (c, (b, c, a, d)), (d, (a, c, b, d)), (b, (d, a, b, c)), (a, (c, d, b, a)),
            ):  # fmt: skip
                await trio.sleep(0.1)
                await holder.place.give_up([slot], to.id)
                for node in learners:
                    node.place.hand_over([slot], to.id)
                    await trio.sleep(0.01)
                holder = to
        with trio.fail_after(20):
            while len(log) < sent * len(refs):
                await trio.sleep(0.01)
        for which in range(len(refs)):
            assert [number for number in log if number % len(refs) == which] == list(
                range(which, sent * len(refs), len(refs))
            )
        assert all(node.system.dead_letters.count == 0 for node in nodes)
        assert not any(node.cluster.flushes for node in nodes)


async def test_order_is_kept_where_the_bus_stands_still_while_a_slot_moves(
    redis: RedisSettings, unique: str
) -> None:
    async with open_nodes(redis, unique, "abc") as nodes:
        a, b, c = nodes
        ref = a.ref_to(b)
        slot = slot_of("tally", ref.key)
        assert await ref.ask(Log()) == []
        await b.place.give_up([slot], c.id)
        with closing(connect(redis)) as valkey:
            valkey.client_pause(3000)
        for number in range(10):
            ref.tell(Add(number))
        moved(nodes, slot, c)
        for number in range(10, 20):
            ref.tell(Add(number))
        assert await ref.ask(Log(), timeout=20) == list(range(20))


async def test_who_watches_hears_that_it_moved(redis: RedisSettings, unique: str) -> None:
    async with open_nodes(redis, unique) as nodes:
        a, b = nodes
        ref = a.ref_to(b)
        await ref.ask(Get())
        probe = Probe(a.system)
        probe.watch(ref)
        await trio.sleep(0.05)
        await b.place.give_up([slot_of("tally", ref.key)], a.id)
        await probe.expect(Terminated(ref, "moved"))


async def test_a_hand_over_that_comes_to_nothing_leaves_the_actor_where_it_was(
    redis: RedisSettings, unique: str
) -> None:
    async with open_nodes(redis, unique) as (a, b):
        ref = a.ref_to(b)
        await ref.ask(Add(1))
        slot = slot_of("tally", ref.key)
        await b.place.give_up([slot], a.id)
        asked = ref.ask(Add(2), timeout=20)
        here = b.system.ref("tally", ref.key).ask(Add(3), timeout=20)
        await trio.sleep(0.1)
        b.place.hand_over([slot], b.id)
        assert sorted((await asked, await here)) in ([2, 5], [3, 5])


async def test_a_message_for_another_node_is_sent_on(redis: RedisSettings, unique: str) -> None:
    async with open_nodes(redis, unique, "abc") as (a, b, c):
        ref = a.ref_to(b)
        slot = slot_of("tally", ref.key)
        b.place.hand_over([slot], c.id)  # a has yet to hear of it
        c.place.hand_over([slot], c.id)
        ref.tell(Add(1))
        assert await ref.ask(Add(2)) == 3
        assert c.system.lookup("tally", ref.key) is not None
        assert b.cluster.misdirected == 2


async def test_a_node_that_has_yet_to_hear_of_a_claim_keeps_what_others_send_by_it(
    redis: RedisSettings, unique: str
) -> None:
    async with open_nodes(redis, unique, "abc") as (a, b, c):
        ref, other = a.ref_to(b), c.ref_to(b)
        slot = slot_of("tally", ref.key)
        b.place.hand_over([slot], c.id)  # b knows, a and c do not
        ref.tell(Add(1))
        asked = ref.ask(Add(2), timeout=20)
        from_c = other.ask(Add(3), timeout=20)
        await trio.sleep(0.1)
        assert not asked.done
        assert c.system.lookup("tally", ref.key) is None
        a.place.hand_over([slot], c.id)
        last = ref.ask(Add(4), timeout=20)
        await trio.sleep(0.1)
        c.place.hand_over([slot], c.id)
        await from_c
        assert await asked < await last
        assert sorted(await ref.ask(Log())) == [1, 2, 3, 4]
        assert b.cluster.misdirected == 3


async def test_what_was_sent_on_too_often_is_turned_away(redis: RedisSettings, unique: str) -> None:
    async with open_nodes(redis, unique) as (a, b):
        ref = a.ref_to(a)
        payload = msgspec.msgpack.encode(Get())
        asked: Future[int] = Future(a.system.home)
        codec = KindCodec(KINDS[0], Names(a.system.ref, lambda _: True), a.system.now)
        number = a.cluster.questions.add(Question(asked, codec, ref.key, Get, b.id))
        item = encode_item(Ask("tally", ref.key, 1, "Get", payload, number, 5.0))
        lane = a.cluster.bus.lane(b.id)
        a.cluster.bus.send(lane, Forwarded(a.id, 1, 3, item))
        with pytest.raises(NotHere, match=f"tally/{ref.key} has moved too often"):
            await asked


async def test_a_node_that_leaves_says_so_to_who_waits(redis: RedisSettings, unique: str) -> None:
    nodes = [f"{unique}a.1", f"{unique}b.1"]
    async with open_node(redis, FixedPlace(nodes[0], nodes, nodes[1:])) as a:
        async with open_node(redis, FixedPlace(nodes[1], nodes, nodes[1:])) as b:
            ref = a.system.ref("tally", "1")
            await ref.ask(Add(1))
            # As a membership that leaves and could not hand over its slots: it still holds this
            # one.
            b.cluster.moved(frozenset([slot_of("tally", "1")]))
            asked = ref.ask(Get(), timeout=20)
            await trio.sleep(0.1)
            assert b.system.lookup("tally", "1") is None
            assert not asked.done
        with pytest.raises(NotHere, match="no node has taken it over"):
            await asked


async def test_what_comes_before_its_kind_is_registered_waits_for_that(
    redis: RedisSettings, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "HELD_S", 0.5)
    nodes = [f"{unique}a.1", f"{unique}b.1"]
    settings = BusSettings(block_s=0.02, canary_s=0.05)
    tally, single = KINDS[0], Kind("single", Tally, placement="one")
    async with (
        open_node(redis, FixedPlace(nodes[0], nodes, nodes[1:]), settings, [tally, single]) as a,
        open_node(redis, FixedPlace(nodes[1], nodes, nodes[1:]), settings, []) as b,
    ):
        a.system.ref("tally", "1").tell(Add(1))
        asked = a.system.ref("tally", "1").ask(Add(2), timeout=20)
        with pytest.raises(NotHere, match="single/1: the node does not know the kind"):
            await a.system.ref("single", "1").ask(Get(), timeout=20)
        with pytest.raises(NotHere):
            await asked
        asked = a.system.ref("tally", "1").ask(Add(3), timeout=20)
        await trio.sleep(0.05)
        b.system.register(tally)
        assert await asked == 3


async def test_what_nobody_holds_waits_in_bounds(
    redis: RedisSettings, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "MOST_HELD", 3)
    async with open_nodes(redis, unique) as nodes:
        a, b = nodes
        ref = a.ref_to(b)
        slot = slot_of("tally", ref.key)
        moved(nodes, slot, None)
        for number in range(3):
            ref.tell(Add(number))
        with pytest.raises(MailboxFull, match="too much waits for a node to hold it"):
            ref.tell(Add(3))
        moved(nodes, slot, a)
        assert await ref.ask(Log()) == [0, 1, 2]
        assert a.system.lookup("tally", ref.key) is not None


async def test_what_nobody_takes_over_is_turned_away(
    redis: RedisSettings, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "HELD_S", 0.1)
    settings = BusSettings(block_s=0.02, canary_s=0.05)
    async with open_nodes(redis, unique, bus=settings) as nodes:
        a, b = nodes
        ref = a.ref_to(b)
        moved(nodes, slot_of("tally", ref.key), None)
        ref.tell(Add(1))
        with pytest.raises(NotHere, match="no node has taken it over"):
            await ref.ask(Get(), timeout=20)
        assert a.system.dead_letters.last[-1].reason == "not here"


async def test_the_death_of_a_node_is_heard_by_who_waits_and_who_watches(
    redis: RedisSettings, unique: str
) -> None:
    async with open_nodes(redis, unique, "abc") as nodes:
        a, b, c = nodes
        ref, desk = a.ref_to(b), a.system.ref("desk", f"{b.id}/1")
        probe = Probe(a.system)
        for each in (ref, desk):
            await each.ask(Get())
            probe.watch(each)
        await trio.sleep(0.05)
        asked = [each.ask(Later(), timeout=20) for each in (ref, desk)]
        await trio.sleep(0.05)
        a.place.bury(b.id)
        c.place.bury(b.id)
        for answer in asked:
            with pytest.raises(DeliveryUnknown, match=f"node {b.id} is gone"):
                await answer
        assert isinstance(answer.exception(), AskTimeout)
        ends = [await probe.expect(Terminated), await probe.expect(Terminated)]
        assert {end.ref for end in ends} == {ref, desk}
        assert {end.reason for end in ends} == {"node_down"}
        with pytest.raises(pykka.ActorDeadError, match="is not there"):
            desk.tell(Add(1))
        again = ref.ask(Add(5), timeout=20)  # waits for somebody to take the slot
        for node in (a, c):
            node.place.hand_over([slot_of("tally", ref.key)], c.id)
        assert await again == 5
        assert c.system.lookup("tally", ref.key) is not None


async def test_a_dead_node_watches_nothing_any_more(redis: RedisSettings, unique: str) -> None:
    async with open_nodes(redis, unique) as (a, b):
        ref = a.ref_to(b)
        await ref.ask(Get())
        probe = Probe(a.system)
        probe.watch(ref)
        cell = b.system.lookup("tally", ref.key)
        assert cell is not None
        with trio.fail_after(20):
            while not cell.watchers:
                await trio.sleep(0.01)
        b.place.bury(a.id)
        assert not cell.watchers


async def test_a_node_that_is_cut_off_ends_its_placed_actors_at_once(
    redis: RedisSettings, unique: str
) -> None:
    async with open_nodes(redis, unique) as (a, b):
        here, there = a.ref_to(a), a.ref_to(b)
        await here.ask(Add(1))
        asked = there.ask(Later(), timeout=20)
        from_b = b.system.ref("tally", here.key).ask(Later(), timeout=20)
        other = Probe(a.system)
        await there.ask(Get())
        a.place.fence("another node has buried it")
        assert not list(a.system.actors("tally"))
        assert not a.cluster.healthy()
        with pytest.raises(DeliveryUnknown, match="cut off from the cluster"):
            await asked
        for ref in (here, there):
            with pytest.raises(pykka.ActorDeadError, match="another node has buried it"):
                await ref.ask(Get())
        b.place.bury(a.id)
        with pytest.raises(DeliveryUnknown):
            await from_b
        other.ref.tell(Add(1))  # what is local goes on
        await other.expect(Add(1))


async def test_slots_that_were_lost_take_their_actors_along(
    redis: RedisSettings, unique: str
) -> None:
    async with open_nodes(redis, unique) as nodes:
        a, b = nodes
        ref = b.ref_to(b)
        await ref.ask(Add(1))
        moved(nodes, slot_of("tally", ref.key), a)
        with trio.fail_after(20):
            while b.system.lookup("tally", ref.key) is not None:
                await trio.sleep(0.01)
        assert await ref.ask(Add(2)) == 2
        assert a.system.lookup("tally", ref.key) is not None


async def test_a_kind_that_has_one_place_is_on_one_node(redis: RedisSettings, unique: str) -> None:
    async with open_nodes(redis, unique, "abc") as nodes:
        holder = nodes[0].place.holder(slot_of_kind("single"))
        for number, node in enumerate(nodes, start=1):
            assert await node.system.ref("single", "x").ask(Add(1)) == number
            await node.system.ref("single", "y").ask(Add(1))
        where = [node.id for node in nodes if list(node.system.actors("single"))]
        assert where == [holder]


async def test_an_actor_can_be_asked_from_three_nodes(redis: RedisSettings, unique: str) -> None:
    async with open_nodes(redis, unique, "abc") as nodes:
        refs = [node.system.ref("tally", nodes[1].key()) for node in nodes]
        answers = [await ref.ask(Add(1)) for ref in refs]
        assert answers == [1, 2, 3]
        later = refs[0].ask(Later())
        await refs[0].ask(Get())
        refs[2].tell(SetLater())
        assert await later == 7
