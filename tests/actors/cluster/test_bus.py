"""The bus on a real Valkey: order, at most once, bounds, and what it does when the store goes."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
import redis as redis_py
import trio

import actors
from actors import ActorRef, Kind, MailboxFull, Terminated
from actors.cluster.errors import DeliveryUnknown, MessageTooLarge, NotHere
from actors.cluster.fixed import FixedPlace
from actors.cluster.items import Tell, decode_entry, encode_item
from actors.runtime.testing import Probe
from persistence import RedisSettings
from persistence.redis.bus import Lane
from persistence.redis.connection import connect
from persistence.settings import BusSettings
from tests.conftest import Stores

from .nodes import NodeUnderTest, open_node, open_nodes
from .sample import Add, Big, Get, Later, Log, Nap, Tally


@pytest.fixture
def valkey(redis: RedisSettings) -> Iterator[redis_py.Redis]:
    client = connect(redis)
    yield client
    client.close()


def stream(redis: RedisSettings, node: NodeUnderTest) -> str:
    return f"{redis.prefix}bus:{node.id}"


async def until(true: Any) -> None:
    """Wait until the function returns true. Another thread changes what it looks at."""
    with trio.fail_after(20):
        while not true():
            await trio.sleep(0.005)


async def fill(ref: ActorRef, sent: list[int]) -> None:
    """Tell the actor one number after the other, until there is no more room."""
    for number in itertools.count(len(sent)):
        ref.tell(Add(number))
        sent.append(number)
        await trio.lowlevel.checkpoint()


@contextmanager
def deaf(node: NodeUnderTest) -> Iterator[list[bytes]]:
    """Keep back what the node reads from its stream, a few pages at most, while the block runs."""
    bus = node.cluster.bus
    kept: list[bytes] = []
    pages = 0

    def keep(page: Sequence[bytes]) -> None:
        nonlocal pages
        pages += 1
        kept.extend(page)

    deliver = bus.intake.deliver
    bus.intake.deliver = keep
    try:
        yield kept
    finally:
        bus.intake.deliver = deliver
        for _ in range(pages - 1):
            bus.intake.done()
        if pages:
            deliver(kept)


async def test_order_is_kept_and_nothing_comes_twice_while_connections_break(
    redis: RedisSettings, unique: str, valkey: redis_py.Redis
) -> None:
    async with open_nodes(redis, unique) as (a, b):
        ref = a.ref_to(b)
        for number in range(4000):
            ref.tell(Add(number))
            if number % 100 == 0:
                valkey.client_kill_filter(_type="normal", skipme=True)
                await trio.sleep(0.01)
        assert await ref.ask(Log(), timeout=20) == list(range(4000))
        assert b.cluster.bus.readings().gaps == 0


async def test_what_comes_through_a_crash_of_the_store_is_in_order_and_nothing_comes_twice(
    stores: Stores, redis: RedisSettings, unique: str
) -> None:
    async with open_nodes(redis, unique) as (a, b):
        ref = a.ref_to(b)
        for number in range(3000):
            ref.tell(Add(number))
            if number == 1000:
                await trio.sleep(0.01)
                os.kill(stores.servers.pids["Valkey"], signal.SIGKILL)
            if number == 2000:
                await until(lambda: "Valkey" not in stores.servers.pids)
                stores.servers.revive()
        await until(lambda: not a.cluster.bus.lane(b.id).waiting_bytes)
        log = await ref.ask(Log(), timeout=20)
        assert log == sorted(set(log))
        assert log[-1] == 2999
        if len(log) < 3000:  # the store has lost the end of what it had
            assert b.cluster.bus.readings().gaps == 1


def entry_of(node: NodeUnderTest, data: bytes) -> bool:
    """Whether the entry is of that node."""
    return decode_entry(data)[0].sender == node.id


async def test_a_gap_is_noticed_and_what_was_asked_is_not_known(
    redis: RedisSettings, unique: str
) -> None:
    async with open_nodes(redis, unique) as (a, b):
        gaps: list[str] = []
        a.cluster.on_gap(gaps.append)
        b.cluster.on_gap(gaps.append)
        ref = a.ref_to(b)
        await ref.ask(Add(1))
        probe = Probe(a.system)
        probe.watch(ref)
        await trio.sleep(0.05)
        answer = ref.ask(Later(), timeout=20)
        await ref.ask(Get())
        with deaf(b) as kept:
            ref.tell(Add(2))
            await until(lambda: any(entry_of(a, data) for data in kept))
            kept[:] = [data for data in kept if not entry_of(a, data)]
            ref.tell(Add(3))
        with pytest.raises(DeliveryUnknown, match="the bus has lost messages"):
            await answer
        assert await ref.ask(Log()) == [1, 3]
        await until(lambda: len(gaps) == 2)
        assert gaps == [a.id, b.id] or gaps == [b.id, a.id]
        assert b.cluster.bus.readings().gaps == 1
        await ref.stop()
        await probe.expect(Terminated(ref, "stopped"), within_s=10)


async def test_a_receiver_that_is_slower_than_its_senders_pushes_back(
    redis: RedisSettings, unique: str, valkey: redis_py.Redis
) -> None:
    settings = BusSettings(
        block_s=0.02, stream_entries=16, entry_bytes=1000, queue_bytes=100_000, page_entries=4
    )
    async with open_nodes(redis, unique, bus=settings) as (a, b):
        ref = a.ref_to(b)
        await ref.ask(Get())
        sent: list[int] = []
        with deaf(b):
            lane = a.cluster.bus.lane(b.id)
            while not (lane.congested and lane.full()):
                with pytest.raises(MailboxFull, match=f"too much waits for node {b.id}"):
                    await fill(ref, sent)
                await trio.sleep(0.01)
            asked = ref.ask(Get())
            with pytest.raises(MailboxFull):
                await asked
            assert 16 <= int(valkey.xlen(stream(redis, b))) <= 64
            assert a.cluster.bus.readings().waiting_bytes <= 100_100
        await until(lambda: not lane.full())
        assert await ref.ask(Log(), timeout=20) == sent


async def test_a_message_beyond_the_bound_is_refused_where_it_is_sent(
    redis: RedisSettings, unique: str
) -> None:
    settings = BusSettings(block_s=0.02, message_bytes=1000)
    async with open_nodes(redis, unique, bus=settings) as (a, b):
        ref = a.ref_to(b)
        with pytest.raises(MessageTooLarge, match=f"tally/{ref.key}: Big has 2,0"):
            ref.tell(Big(1, bytes(2000)))
        with pytest.raises(MessageTooLarge):
            await ref.ask(Big(1, bytes(2000)))
        with pytest.raises(MessageTooLarge, match="the answer to Big has 2,0"):
            await ref.ask(Big(2000))
        assert await ref.ask(Big(10)) == bytes(10)


async def test_the_canary_says_whether_the_way_is_open(redis: RedisSettings, unique: str) -> None:
    settings = BusSettings(block_s=0.02, canary_s=0.05, canary_late_s=0.3)
    async with open_nodes(redis, unique, "a", bus=settings) as (a,):
        assert a.cluster.healthy()
        with deaf(a):
            await until(lambda: not a.cluster.healthy())
        await until(a.cluster.healthy)
        assert 0 < a.cluster.bus.readings().hop_s < 10


async def test_a_stream_that_begins_again_is_read_from_its_beginning(
    redis: RedisSettings, unique: str, valkey: redis_py.Redis
) -> None:
    settings = BusSettings(block_s=0.02, canary_s=0.05, canary_late_s=0.3)
    async with open_nodes(redis, unique, bus=settings) as (a, b):
        ref = a.ref_to(b)
        await ref.ask(Get())
        # As after a failover to a store whose clock is behind: its ids come before the last one.
        b.cluster.bus.intake.last = b"99999999999999-0"
        ref.tell(Add(5))
        assert await ref.ask(Get(), timeout=20) == 5


async def test_nothing_of_the_buried_is_heard(redis: RedisSettings, unique: str) -> None:
    async with open_nodes(redis, unique, "abc") as (a, b, c):
        ref = a.ref_to(b)
        await ref.ask(Add(1))
        b.place.bury(a.id)
        ref.tell(Add(2))
        await trio.sleep(0.1)
        assert await c.system.ref("tally", ref.key).ask(Log()) == [1]


async def test_what_a_newer_node_sends_is_left_out_and_the_rest_is_read(
    redis: RedisSettings, unique: str
) -> None:
    async with open_nodes(redis, unique) as (a, b):
        ref = a.ref_to(b)
        lane = a.cluster.bus.lane(b.id)
        lane.enqueue(encode_item(Tell("tally", ref.key, 1, "Add", msgspec.msgpack.encode(Add(1)))))
        lane.enqueue(msgspec.msgpack.encode([999, "new", 1]))
        lane.enqueue(encode_item(Tell("tally", ref.key, 1, "Add", msgspec.msgpack.encode(Add(2)))))
        lane.enqueue(msgspec.msgpack.encode([1, "tally", ref.key, 1, "Newer", b""]))
        lane.enqueue(
            msgspec.msgpack.encode([1, "tally", ref.key, 1, "Add", b"\x01", "a later field"])
        )
        assert await ref.ask(Log()) == [1, 2]
        assert b.cluster.bus.readings().unknown == 1
        assert [letter.reason for letter in b.system.dead_letters.last] == ["unreadable"] * 2


async def test_a_burst_does_not_overrun_a_mailbox(redis: RedisSettings, unique: str) -> None:
    class Usual(actors.Actor):
        count = 0

        @actors.handles(int)
        def add(self, message: int) -> int:
            self.count += 1
            return self.count

    kind = actors.Kind("usual", lambda _key: Usual(), actor=Usual, placement="hashed")
    async with open_nodes(redis, unique, kinds=[kind]) as (a, b):
        ref = a.ref_to(b, "usual")
        for _ in range(20_000):
            ref.tell(1)
        assert await ref.ask(1, timeout=20) == 20_001
        assert b.system.dead_letters.count == 0


async def test_a_node_that_leaves_takes_its_stream_along(
    redis: RedisSettings, unique: str, valkey: redis_py.Redis
) -> None:
    async with open_nodes(redis, unique) as (a, b):
        await a.ref_to(b).ask(Get())
        assert valkey.exists(stream(redis, a), stream(redis, b)) == 2
    assert valkey.exists(stream(redis, a), stream(redis, b)) == 0


async def test_the_stream_of_a_dead_node_goes_and_does_not_come_back(
    redis: RedisSettings, unique: str, valkey: redis_py.Redis
) -> None:
    async with open_nodes(redis, unique) as (a, b):
        ref = a.ref_to(b)
        await ref.ask(Get())
        with deaf(b):
            a.place.bury(b.id)
            await until(lambda: not valkey.exists(stream(redis, b)))


async def test_what_waits_when_a_node_leaves_still_leaves(
    redis: RedisSettings, unique: str
) -> None:
    a_id, b_id = nodes = [f"{unique}a.1", f"{unique}b.1"]
    async with open_node(redis, FixedPlace(b_id, nodes)) as b:
        key = b.key()
        async with open_node(redis, FixedPlace(a_id, nodes)) as a:
            for number in range(300):
                a.system.ref("tally", key).tell(Add(number))
        with trio.fail_after(20):
            while await b.system.ref("tally", key).ask(Log()) != list(range(300)):
                await trio.sleep(0.01)


async def test_what_is_patient_waits_for_others_and_leaves_in_order_with_what_is_not(
    redis: RedisSettings, unique: str
) -> None:
    kinds = (Kind("tally", Tally, placement="hashed", patient=True),)
    bus = BusSettings(block_s=0.02, gather_s=1000.0)
    async with open_nodes(redis, unique, bus=bus, kinds=kinds) as (a, b):
        ref, lane = a.ref_to(b), a.cluster.bus.lane(b.id)
        ref.tell(Add(0))
        await until(
            lambda: lane.entries == 1 and not lane.waiting_bytes
        )  # it found none to wait for
        for number in range(1, 20):
            ref.tell(Add(number))
            await trio.lowlevel.checkpoint()
        assert (lane.entries, lane.called) == (1, False)
        assert await ref.ask(Log()) == list(range(20))
        assert lane.entries == 2


async def test_what_is_patient_leaves_by_itself_after_a_while(
    redis: RedisSettings, unique: str
) -> None:
    kinds = (Kind("tally", Tally, placement="hashed", patient=True),)
    bus = BusSettings(block_s=0.02, gather_s=0.02)
    async with open_nodes(redis, unique, bus=bus, kinds=kinds) as (a, b):
        ref, lane = a.ref_to(b), a.cluster.bus.lane(b.id)
        for number in range(50):
            ref.tell(Add(number))
            await trio.lowlevel.checkpoint()
        await until(lambda: not lane.waiting_bytes)
        assert await ref.ask(Log()) == list(range(50))


async def test_what_is_patient_leaves_when_its_node_does(redis: RedisSettings, unique: str) -> None:
    kinds = (Kind("tally", Tally, placement="hashed", patient=True),)
    bus = BusSettings(block_s=0.02, gather_s=1000.0)
    a_id, b_id = nodes = [f"{unique}a.1", f"{unique}b.1"]
    async with open_node(redis, FixedPlace(b_id, nodes), bus, kinds) as b:
        key = b.key()
        async with open_node(redis, FixedPlace(a_id, nodes), bus, kinds) as a:
            for number in range(30):
                a.system.ref("tally", key).tell(Add(number))
                await trio.lowlevel.checkpoint()
        with trio.fail_after(20):
            while await b.system.ref("tally", key).ask(Log()) != list(range(30)):
                await trio.sleep(0.01)


async def test_a_node_that_holds_nothing_reaches_all(redis: RedisSettings, unique: str) -> None:
    nodes = [f"{unique}{name}.1" for name in "abc"]
    places = [FixedPlace(node, nodes, nodes[:2]) for node in nodes]
    async with (
        open_node(redis, places[0]) as a,
        open_node(redis, places[1]) as b,
        open_node(redis, places[2]) as c,
    ):
        assert await c.ref_to(a).ask(Add(1)) == 1
        assert await c.ref_to(b).ask(Add(2)) == 2
        assert not list(c.system.actors("tally"))


async def test_a_nap_over_there_keeps_nobody_else(redis: RedisSettings, unique: str) -> None:
    async with open_nodes(redis, unique) as (a, b):
        keys = b.keys("tally")
        one, other = a.system.ref("tally", next(keys)), a.system.ref("tally", next(keys))
        napping = one.ask(Nap(0.3))
        assert await other.ask(Add(1)) == 1
        assert not napping.done


def test_a_lane_makes_entries_that_any_reader_of_msgpack_reads() -> None:
    lane = Lane("a.1", "b.2", BusSettings(entry_bytes=12))
    for number in range(5):
        lane.enqueue(msgspec.msgpack.encode([number, "x" * 3]))
    entries = []
    while lane.has_work():
        entry = lane.next_entry()
        assert lane.next_entry() is entry
        entries.append(msgspec.msgpack.decode(entry))
        lane.arrived()
    assert [entry[:2] for entry in entries] == [["a.1", number] for number in (1, 2, 3)]
    assert [item[0] for entry in entries for item in entry[2]] == [0, 1, 2, 3, 4]
    assert lane.waiting_bytes == 0


async def test_a_hint_of_another_node_starts_no_actor_and_reaches_one_that_is_there(
    redis: RedisSettings, unique: str
) -> None:
    kinds = (Kind("tally", Tally, placement="hashed", hints=(Add,)),)
    async with open_nodes(redis, unique, kinds=kinds) as (a, b):
        ref = a.ref_to(b)
        ref.tell(Add(1))
        assert await ref.ask(Log()) == []
        ref.tell(Add(2))
        assert await ref.ask(Log()) == [2]


async def test_what_is_asked_from_another_node_starts_an_actor_only_if_that_is_admitted(
    redis: RedisSettings, unique: str
) -> None:
    asked: list[Any] = []

    def admit(message: Any) -> None:
        asked.append(message)
        if message == Add(2):
            raise NotHere("too many are started")

    async with open_nodes(redis, unique) as (a, b):
        b.cluster.admit_starts(admit)
        ref = a.ref_to(b)
        with pytest.raises(NotHere, match="too many are started"):
            await ref.ask(Add(2))
        assert not list(b.system.actors("tally"))
        assert await ref.ask(Add(1)) == 1
        assert await ref.ask(Add(2)) == 3, "it is there already"
        assert await b.system.ref("tally", b.key()).ask(Add(1)) == 4
        assert asked == [Add(2), Add(1)]
