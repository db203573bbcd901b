"""The client against scripted servers: what it does when connections and rooms break."""

from __future__ import annotations

import random

import msgspec
import pytest
import trio

from protocol.client import (
    ClientSettings,
    Connected,
    ConnectionLost,
    Disconnected,
    Gap,
    ReconnectBackoff,
    Reconnecting,
    RequestFailed,
    Room,
    TopicGone,
    connect,
)
from protocol.messages.envelope import ErrorReply, Position
from protocol.messages.room import RoomJoin, RoomRestarted, RoomSend, Sent
from protocol.messages.session import Ping, Pong, SessionOpen, SessionResume, TopicLost
from tests.protocol.scripted import (
    BOB,
    MEMBERS,
    QUICK,
    Peer,
    Script,
    opened,
    part,
    push,
    recovered,
    said,
    scripted,
    take,
)


@pytest.mark.parametrize("code", [None, 1001, 1011, 4000, 4001, 4002, 4003, 3000, 4499])
async def test_after_a_break_the_room_goes_on_where_it_stopped(code: int | None) -> None:
    async def first(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.join(1, [said(1)])
        await peer.send(push(said(2)))
        await (peer.cut() if code is None else peer.close(code))

    async def second(peer: Peer) -> None:
        request = await peer.answer(SessionResume, opened(resumed=True))
        assert request.token == "t1"
        assert request.positions == {"room:lobby": Position(1, 2)}
        await peer.send(recovered(said(3), said(4), offset=4), push(said(5)))
        await part(peer)

    async with scripted(first, second) as url, connect(url, name="ada", settings=QUICK) as session:
        room = await session.join("lobby")
        assert await take(room, 4) == [said(2), said(3), said(4), said(5)]
        assert room.members == [*MEMBERS, BOB]


@pytest.mark.parametrize(("code", "attempts"), [(4000, [1, 1, 1]), (4001, [1, 2, 3])])
async def test_a_node_that_drains_is_no_failure_and_the_backoff_starts_anew(
    code: int, attempts: list[int]
) -> None:
    """In a restart of one node after the other a client may meet several that drain in a row."""

    def closing(answer: type[SessionOpen | SessionResume]) -> Script:
        async def script(peer: Peer) -> None:
            await peer.answer(answer, opened(resumed=True))
            await peer.close(code)

        return script

    async def last(peer: Peer) -> None:
        await peer.answer(SessionResume, opened(resumed=True))
        await part(peer)

    scripts = [closing(SessionOpen), closing(SessionResume), closing(SessionResume), last]
    async with scripted(*scripts) as url, connect(url, name="ada", settings=QUICK) as session:
        found = []
        async for status in session.statuses():
            if isinstance(status, Reconnecting):
                found.append(status.attempt)
            elif len(found) == len(attempts):
                break
        assert found == attempts


async def test_after_a_drain_the_first_wait_has_a_bound_of_its_own() -> None:
    async def first(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.close(4000)

    async def second(peer: Peer) -> None:
        await peer.answer(SessionResume, opened(resumed=True))
        await part(peer)

    hour_s = 3600.0
    backoff = ReconnectBackoff(first_s=hour_s, max_s=hour_s, drained_s=0.0)
    settings = msgspec.structs.replace(QUICK, backoff=backoff)
    async with scripted(first, second) as url, connect(url, name="ada", settings=settings) as one:
        async for status in one.statuses():
            if isinstance(status, Connected):
                break
            assert status.wait_s == 0.0


async def test_what_could_not_be_recovered_is_a_gap() -> None:
    async def first(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.join(1, [said(1)])
        await peer.cut()

    async def second(peer: Peer) -> None:
        await peer.answer(SessionResume, opened(resumed=False))
        await peer.send(recovered(said(8), said(9), offset=9, epoch=3, whole=False))
        await part(peer)

    async with scripted(first, second) as url, connect(url, name="ada", settings=QUICK) as session:
        room = await session.join("lobby")
        assert await take(room, 3) == [Gap("away", 2, 7), said(8), said(9)]
        assert room.position == Position(3, 9)


async def test_a_room_that_crashed_takes_back_what_was_not_durable() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.join()
        await peer.send(
            push(said(1)), push(said(2)), RoomRestarted(room="lobby", epoch=2, offset=1)
        )
        await peer.send(push(said(2, "anew")))
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        room = await session.join("lobby")
        assert await take(room, 4) == [said(1), said(2), Gap("void", 2, 2), said(2, "anew")]
        assert room.position == Position(2, 2)


async def test_a_keyed_send_is_sent_again_after_a_break_and_a_bare_one_is_not() -> None:
    keys: list[str | None] = []

    async def first(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.join()
        requests = [await peer.expect(RoomSend), await peer.expect(RoomSend)]
        keys.extend(request.key for request in requests if request.body == "keyed")
        await peer.cut()

    async def second(peer: Peer) -> None:
        await peer.answer(SessionResume, opened(resumed=True))
        await peer.send(recovered(offset=0))
        request = await peer.answer(RoomSend, Sent(1, 1))
        assert request.body == "keyed"
        keys.append(request.key)
        await part(peer)

    async def send_bare(room: Room) -> None:
        with pytest.raises(ConnectionLost, match=r"room\.send"):
            await room.send("bare", key=None)

    async with scripted(first, second) as url, connect(url, name="ada", settings=QUICK) as session:
        room = await session.join("lobby")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_bare, room)
            assert await room.send("keyed") == Sent(1, 1)
    assert keys[0] == keys[1]
    assert keys[0]


async def test_requests_made_without_a_connection_wait_for_one() -> None:
    async def first(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.cut()

    async def second(peer: Peer) -> None:
        await peer.answer(SessionResume, opened(resumed=True))
        await peer.answer(Ping, Pong(1))
        await part(peer)

    async with scripted(first, second) as url, connect(url, name="ada", settings=QUICK) as session:
        while session.connected:
            await trio.sleep(0.001)
        assert 0 < await session.ping() < 2


async def test_a_join_under_way_at_a_break_is_made_again() -> None:
    async def first(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.expect(RoomJoin)
        await peer.cut()

    async def second(peer: Peer) -> None:
        resume = await peer.answer(SessionResume, opened(resumed=True))
        assert resume.positions == {}
        await peer.join(3, [said(3)])
        await part(peer)

    async with scripted(first, second) as url, connect(url, name="ada", settings=QUICK) as session:
        assert (await session.join("lobby")).backlog == (said(3),)


@pytest.mark.parametrize("code", [1002, 1009, 3500, 4500, 4501, 4502, 4999])
async def test_a_close_that_says_so_is_the_end(code: int) -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.join()
        await peer.expect(RoomSend)
        await peer.close(code, "because")

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        room = await session.join("lobby")
        with pytest.raises(Disconnected, match="because") as sent:
            await room.send("hi")
        assert sent.value.close is not None
        assert sent.value.close.code == code
        with pytest.raises(Disconnected, match="because"):
            await anext(room)
        with pytest.raises(Disconnected):
            await session.join("other")
        assert not session.connected


async def test_a_silent_connection_is_given_up_and_made_anew() -> None:
    async def first(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened(keepalive_s=0.05))
        await trio.sleep_forever()

    async def second(peer: Peer) -> None:
        await peer.answer(SessionResume, opened(resumed=True))
        await part(peer)

    async with scripted(first, second) as url, connect(url, name="ada", settings=QUICK) as session:
        statuses = session.statuses()
        with trio.fail_after(120):
            assert "broke" in str(await anext(statuses))
            assert "resumed=True" in str(await anext(statuses))


async def test_a_lost_room_says_why_and_one_lost_for_a_moment_is_joined_again() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.join(1, [said(1)])
        await peer.send(TopicLost(topic="room:lobby", code="unavailable"))
        await peer.join(3, [said(1), said(2), said(3)])
        await peer.send(TopicLost(topic="room:lobby", code="unknown_room"))
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        room = await session.join("lobby")
        assert await take(room, 2) == [said(2), said(3)]
        with pytest.raises(TopicGone, match="unknown_room"):
            await anext(room)


async def test_what_is_sent_to_a_room_that_is_lost_for_a_moment_waits_for_it() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.join(1, [said(1)])
        early = await peer.expect(RoomSend)
        await peer.send(TopicLost(topic="room:lobby", code="unavailable"))
        await peer.send(ErrorReply(early.ref, "not_joined", "", retry=False))
        await peer.join(1, [said(1)])
        for _ in ("early", "late"):
            await peer.answer(RoomSend, {"offset": 2, "at": 0})
        await peer.send(TopicLost(topic="room:lobby", code="unknown_room"))
        refused = await peer.expect(RoomSend)
        await peer.send(ErrorReply(refused.ref, "not_joined", "", retry=False))
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        room = await session.join("lobby")
        assert (await room.send("early")).offset == 2
        assert (await room.send("late")).offset == 2
        with pytest.raises(RequestFailed, match="not_joined"):
            await room.send("too late")


async def test_it_gives_up_after_the_time_it_is_given() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        peer.end_server()

    settings = ClientSettings(
        backoff=ReconnectBackoff(first_s=0.01, max_s=0.02), give_up_after_s=0.1
    )
    rng = random.Random(1)
    async with scripted(server) as url, connect(url, name="ada", settings=settings, rng=rng) as one:
        with pytest.raises(Disconnected, match=r"gave up: .* connection refused"):
            await one.ping()
