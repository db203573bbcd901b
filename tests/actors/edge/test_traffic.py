"""While one address asks for too much, the clients of others are still served."""

from __future__ import annotations

from typing import Any

import msgspec
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.edge.admission import FEW, Admission
from actors.edge.settings import SessionSettings
from actors.edge.traffic import Traffic
from actors.runtime.memory import MemoryEventStore
from protocol.messages.envelope import ErrorReply, Ok
from protocol.messages.room import RoomHistory, RoomJoin, RoomSend
from tests.actors.players import House, Player, open_house, unlimited


async def member(house: House, name: str, address: str | None) -> Player:
    player = house.connect(address=address)
    await player.open(name)
    await player.ask(RoomJoin(room="lobby"))
    return player


def limited(**limits: Any) -> SessionSettings:
    return msgspec.structs.replace(unlimited(), **limits)


async def code(player: Player, ref: int) -> str:
    reply = await player.replied(ref)
    return reply.code if isinstance(reply, ErrorReply) else "ok"


async def test_the_clients_of_one_address_have_only_so_many_requests_under_way(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events, sessions=limited(address_in_flight=3)) as house:
        ada, bob = [await member(house, name, "198.51.100.1") for name in ("ada", "bob")]
        cyd, own = await member(house, "cyd", "198.51.100.2"), await member(house, "own", None)
        events.delay_s = 1.0
        for player in (ada, bob):
            for ref in (10, 11):
                player.tell(RoomSend(ref=ref, room="lobby", body="x"))
        for player in (cyd, own):
            player.tell(RoomSend(ref=10, room="lobby", body="x"))
        assert [await code(ada, ref) for ref in (10, 11)] == ["ok", "ok"]
        assert [await code(bob, ref) for ref in (10, 11)] == ["ok", "busy"]
        assert await code(cyd, 10) == await code(own, 10) == "ok"
        bob.tell(RoomSend(ref=12, room="lobby", body="x"))
        assert await code(bob, 12) == "ok"


async def test_the_clients_of_one_address_send_only_so_much(autojump_clock: MockClock) -> None:
    settings = limited(address_messages_per_s=10.0, address_messages_burst=20)
    async with open_house(sessions=settings) as house:
        many = [await member(house, f"m{number}", "198.51.100.1") for number in range(4)]
        cyd = await member(house, "cyd", "198.51.100.2")
        await trio.sleep(10)
        for ref in range(10, 20):
            for player in many:
                player.tell(RoomSend(ref=ref, room="lobby", body="x"))
        cyd.tell(RoomSend(ref=10, room="lobby", body="x"))
        codes = [await code(player, ref) for player in many for ref in range(10, 20)]
        assert codes.count("ok") == 20
        assert codes.count("rate_limited") == 20
        assert await code(cyd, 10) == "ok"
        assert house.gateway.rate_limited == 20
        many[0].tell(RoomJoin(ref=30, room="library"))  # of those that are not shed
        refused = await many[0].replied(30)
        assert isinstance(refused, ErrorReply)
        assert (refused.code, refused.retry) == ("rate_limited", True)
        await trio.sleep(10)
        many[0].tell(RoomHistory(ref=31, room="lobby"))
        assert isinstance(await many[0].replied(31), Ok)


async def test_many_addresses_that_ask_for_much_keep_nobody_out_who_asks_for_little(
    autojump_clock: MockClock,
) -> None:
    events = MemoryEventStore()
    async with open_house(events=events, sessions=limited(in_flight_all=160)) as house:
        many = [await member(house, f"m{n}", f"198.51.100.{n}") for n in range(20)]
        late = await member(house, "late", "203.0.113.1")
        events.delay_s = 1.0
        for ref in range(10, 10 + FEW + 4):
            for player in many[:8]:
                player.tell(RoomSend(ref=ref, room="lobby", body="x"))
        await trio.testing.wait_all_tasks_blocked()
        late.tell(RoomSend(ref=10, room="lobby", body="x"))
        assert await code(late, 10) == "ok"
        codes = [await code(one, ref) for one in many[:8] for ref in range(10, 10 + FEW + 4)]
        assert codes.count("busy") == 8 * (FEW + 4) - 140  # seven eighths of 160


def test_the_share_of_an_address_falls_with_the_bound_of_the_node() -> None:
    admission, traffic = Admission(4096, of_address=1024), Traffic(SessionSettings())
    admission.allowed = 512
    traffic.under_way = 127
    assert not admission.address_full(traffic)
    traffic.under_way = 128
    assert admission.address_full(traffic)


@given(
    st.integers(16, 400),
    st.integers(0, 100),
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=600),
)
def test_no_address_has_more_than_its_share_and_all_together_leave_the_reserve(
    limit: int, of_address: int, asks: list[tuple[int, bool]]
) -> None:
    admission = Admission(limit, of_address=of_address)
    addresses = [Traffic(SessionSettings()) for _ in range(6)]
    for number, begins in asks:
        traffic = addresses[number]
        if begins and not admission.full() and not admission.address_full(traffic):
            admission.begin()
            traffic.under_way += 1
        elif not begins and traffic.under_way:
            admission.end(0.0, 0.0)
            traffic.under_way -= 1
        if of_address:
            assert traffic.under_way <= of_address
        assert admission.under_way <= limit
        beyond = [max(0, one.under_way - FEW) for one in addresses]
        assert sum(beyond) <= limit - limit // 8
