"""Whatever breaks, client and server agree about what the client is a member of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from protocol.client import RequestFailed, Room, TopicGone, connect
from protocol.messages.envelope import ErrorReply, Ok, Position
from protocol.messages.room import RoomJoin, RoomLeave, RoomState
from protocol.messages.session import Ping, Pong, SessionOpen, SessionResume, TopicLost
from tests.protocol.scripted import MEMBERS, QUICK, Peer, opened, part, push, said, scripted, take


def state(offset: int) -> RoomState:
    return RoomState("lobby", 1, offset, MEMBERS, len(MEMBERS), [])


async def rest_of(room: Room) -> list[object]:
    with trio.fail_after(60):
        return [update async for update in room]


async def abandon(request: Callable[[], Awaitable[object]], sent: trio.Event) -> None:
    """Make a request, and cancel it once the server has got it."""

    async def make() -> None:
        await request()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(make)
        await sent.wait()
        nursery.cancel_scope.cancel()


async def test_after_a_leave_that_was_refused_the_room_goes_on_and_can_be_left_again() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.join()
        request = await peer.expect(RoomLeave)
        await peer.send(ErrorReply(request.ref, "busy", "", retry=True), push(said(1)))
        await peer.answer(RoomLeave)
        await peer.join(5)
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        room = await session.join("lobby")
        with pytest.raises(RequestFailed, match="busy"):
            await room.leave()
        assert await take(room, 1) == [said(1)]
        assert await session.join("lobby") is room
        await room.leave()
        assert await rest_of(room) == []
        assert (await session.join("lobby")).position == Position(1, 5)


async def test_a_room_is_heard_until_its_leave_is_answered() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.join()
        request = await peer.expect(RoomLeave)
        assert request.ref is not None
        await peer.send(push(said(1)), Ok(request.ref), push(said(2)))
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        room = await session.join("lobby")
        await room.leave()
        assert await rest_of(room) == [said(1)]


async def test_a_join_that_nobody_waits_for_any_more_is_known_once_it_is_answered() -> None:
    sent, late = trio.Event(), trio.Event()

    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        request = await peer.expect(RoomJoin)
        assert request.ref is not None
        sent.set()
        await late.wait()
        await peer.send(Ok(request.ref, state(4)), push(said(5)))
        await peer.answer(Ping, Pong(1))
        await peer.answer(RoomLeave)  # no second join
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        await abandon(lambda: session.join("lobby"), sent)
        late.set()
        await session.ping()
        room = await session.join("lobby")
        assert await take(room, 1) == [said(5)]
        await room.leave()


async def test_a_leave_that_nobody_waits_for_any_more_counts_once_it_is_answered() -> None:
    sent, late = trio.Event(), trio.Event()

    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.join(1)
        request = await peer.expect(RoomLeave)
        assert request.ref is not None
        sent.set()
        await late.wait()
        await peer.send(Ok(request.ref))
        await peer.answer(Ping, Pong(1))
        await peer.join(9)
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        room = await session.join("lobby")
        await abandon(room.leave, sent)
        late.set()
        await session.ping()
        assert await rest_of(room) == []
        again = await session.join("lobby")
        assert again is not room
        assert again.position == Position(1, 9)


async def test_a_join_behind_a_leave_asks_the_server() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.join(1)
        leave = await peer.expect(RoomLeave)
        join = await peer.expect(RoomJoin)
        assert leave.ref is not None
        assert join.ref is not None
        await peer.send(Ok(leave.ref), Ok(join.ref, state(7)), push(said(8)))
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        room = await session.join("lobby")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(room.leave)
            await trio.testing.wait_all_tasks_blocked()
            again = await session.join("lobby")
        assert await rest_of(room) == []
        assert await take(again, 1) == [said(8)]


async def test_a_leave_under_way_at_a_break_is_made_again_and_the_room_followed_till_then() -> None:
    async def first(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.join(3)
        await peer.expect(RoomLeave)
        await peer.cut()

    async def second(peer: Peer) -> None:
        resume = await peer.answer(SessionResume, opened(resumed=True))
        assert resume.positions == {"room:lobby": Position(1, 3)}
        await peer.answer(RoomLeave)
        await part(peer)

    async with scripted(first, second) as url, connect(url, name="ada", settings=QUICK) as session:
        room = await session.join("lobby")
        await room.leave()
        assert await rest_of(room) == []


async def test_what_nobody_waits_for_at_a_break_is_not_made_again() -> None:
    sent = trio.Event()

    async def first(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.expect(RoomJoin)
        sent.set()
        await peer.answer(Ping, Pong(1))
        await peer.cut()

    async def second(peer: Peer) -> None:
        resume = await peer.answer(SessionResume, opened(resumed=True))
        assert resume.positions == {}
        await peer.answer(Ping, Pong(1))
        await peer.join(2)
        await part(peer)

    async with scripted(first, second) as url, connect(url, name="ada", settings=QUICK) as session:
        await abandon(lambda: session.join("lobby"), sent)
        await session.ping()
        await session.ping()
        assert (await session.join("lobby")).position == Position(1, 2)


async def test_a_room_lost_for_a_moment_is_not_joined_again_behind_its_leave() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.join(1)
        request = await peer.expect(RoomLeave)
        assert request.ref is not None
        await peer.send(TopicLost(topic="room:lobby", code="unavailable"))
        await trio.sleep(0.1)
        await peer.send(Ok(request.ref))
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        room = await session.join("lobby")
        await room.leave()
        assert await rest_of(room) == []


async def test_a_leave_that_failed_and_acted_all_the_same_ends_the_iteration() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.join(1)
        request = await peer.expect(RoomLeave)
        await peer.send(ErrorReply(request.ref, "timeout", "", retry=True), push(said(2)))
        await peer.send(TopicLost(topic="room:lobby", code="not_joined"))
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        room = await session.join("lobby")
        with pytest.raises(RequestFailed, match="timeout"):
            await room.leave()
        assert await take(room, 1) == [said(2)]
        with pytest.raises(TopicGone, match="not_joined"):
            await anext(room)
