"""The client against scripted servers: what it sends, what it yields, which errors it raises."""

from __future__ import annotations

import msgspec
import pytest
import trio

from protocol.client import (
    CannotConnect,
    ClientSettings,
    Disconnected,
    Gap,
    RequestFailed,
    RequestTimedOut,
    connect,
)
from protocol.messages.envelope import ErrorReply, Ok
from protocol.messages.room import (
    History,
    RoomHistory,
    RoomJoin,
    RoomJoined,
    RoomLeave,
    RoomLeft,
    RoomPresence,
    RoomSend,
    Sent,
)
from protocol.messages.session import Ping, Pong, SessionOpen, SessionResume
from tests.protocol.scripted import (
    BOB,
    MEMBERS,
    QUICK,
    Peer,
    opened,
    part,
    push,
    said,
    scripted,
    take,
)


@pytest.mark.parametrize("encoding", ["msgpack", "json"])
async def test_a_session_opens_joins_sends_listens_and_leaves(encoding: str) -> None:
    async def server(peer: Peer) -> None:
        assert peer.encoding.name == encoding
        assert (await peer.answer(SessionOpen, opened())).name == "ada"
        await peer.join(2, [said(1), said(2)])
        request = await peer.expect(RoomSend)
        assert (request.room, request.body) == ("lobby", "hi")
        assert request.key is not None
        assert request.ref is not None
        await peer.send(push(said(3, "hi")), Ok(request.ref, Sent(3, 99)))
        assert (await peer.answer(RoomHistory, History([said(1)], more=False))).before == 2
        await peer.answer(RoomLeave)
        await part(peer)

    async with scripted(server) as url:
        async with connect(url, name="ada", encoding=encoding, settings=QUICK) as session:  # type: ignore[arg-type]  # parametrized
            assert session.opened.user == "u1"
            room = await session.join("lobby")
            assert await session.join("lobby") is room
            assert room.backlog == (said(1), said(2))
            assert await room.send("hi") == Sent(3, 99)
            assert await take(room, 1) == [said(3, "hi")]
            assert await room.history(before=2, limit=5) == History([said(1)], more=False)
            await room.leave()
            assert [message async for message in room] == []
        with pytest.raises(Disconnected):
            await session.ping()


async def test_members_follow_who_comes_and_goes() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.join()
        await peer.send(
            RoomJoined(room="lobby", offset=0, member=BOB),
            push(said(1)),
            RoomLeft(room="lobby", offset=1, member=BOB),
        )
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        room = await session.join("lobby")
        updates = room.updates()
        assert await anext(updates) == RoomJoined(room="lobby", offset=0, member=BOB)
        assert await anext(updates) == said(1)
        assert await anext(updates) == RoomLeft(room="lobby", offset=1, member=BOB)
        assert room.members == MEMBERS
        assert room.members_total == 1


async def test_members_of_a_big_room_follow_what_was_gathered() -> None:
    named = RoomPresence(
        room="lobby", offset=0, named=True, joined=[BOB], left=MEMBERS, members_total=501
    )
    counted = msgspec.structs.replace(named, named=False, joined=[], left=[], members_total=2000)

    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.join()
        await peer.send(named, push(said(1)), counted)
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        room = await session.join("lobby")
        updates = room.updates()
        assert await anext(updates) == named
        assert (room.members, room.members_total) == ([BOB], 501)
        assert [await anext(updates), await anext(updates)] == [said(1), counted]
        assert (room.members, room.members_total) == ([BOB], 2000)


async def test_pushes_right_behind_the_answer_to_a_join_are_not_missed() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.join(5, [])
        await peer.send(*(push(said(offset)) for offset in range(6, 60)))
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        room = await session.join("lobby")
        assert await take(room, 54) == [said(offset) for offset in range(6, 60)]


async def test_an_error_is_raised_with_its_code_and_the_session_goes_on() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        request = await peer.expect(RoomJoin)
        await peer.send(ErrorReply(request.ref, "room_full", "The room is full.", retry=True))
        await peer.answer(Ping, Pong(1))
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        with pytest.raises(RequestFailed, match="room_full") as failed:
            await session.join("lobby")
        assert failed.value.retry
        await session.ping()


async def test_a_request_without_an_answer_times_out_and_a_late_answer_does_no_harm() -> None:
    late = trio.Event()

    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        request = await peer.expect(Ping)
        await late.wait()
        assert request.ref is not None
        await peer.send(Ok(request.ref, Pong(1)))
        await peer.answer(Ping, Pong(2))
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        with pytest.raises(RequestTimedOut, match="it may act yet"):
            await session.request(Ping(), Pong, timeout_s=0.05)
        late.set()
        assert await session.request(Ping(), Pong) == Pong(2)


async def test_a_reader_that_is_behind_gets_a_gap_and_holds_up_nobody() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.join()
        await peer.send(*(push(said(offset)) for offset in range(1, 101)))
        await peer.answer(Ping, Pong(1))
        await part(peer)

    settings = ClientSettings(buffer=10, close_timeout_s=0.2)
    async with scripted(server) as url, connect(url, name="ada", settings=settings) as session:
        room = await session.join("lobby")
        await session.ping()  # its answer comes behind all of them
        expected = [Gap("behind", 1, 90), *(said(offset) for offset in range(91, 101))]
        assert await take(room, 11) == expected
        assert room.feed.dropped == 90


async def test_an_unknown_push_is_ignored_and_other_nonsense_is_the_end() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.raw(msgspec.msgpack.encode({"op": "room.poem", "lines": ["a", "b"]}))
        await peer.answer(Ping, Pong(1))
        await peer.raw(b"\xc1")
        await peer.silence()

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        await session.ping()
        with pytest.raises(Disconnected, match="no message"):
            await session.ping()


async def test_a_message_the_server_would_not_take_never_leaves() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.join()
        await part(peer)

    async with scripted(server) as url, connect(url, name="ada", settings=QUICK) as session:
        room = await session.join("lobby")
        with pytest.raises(RequestFailed, match="too_long"):
            await room.send("x" * 65_536)


async def test_a_refused_token_is_told_and_a_later_one_ends_the_session() -> None:
    async def refuses(peer: Peer) -> None:
        request = await peer.expect(SessionResume)
        await peer.send(ErrorReply(request.ref, "bad_token", "The token is not valid."))
        await peer.silence()

    async def opens_and_breaks(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await peer.cut()

    async with scripted(refuses) as url:
        with pytest.raises(RequestFailed, match="bad_token"):
            async with connect(url, resume="old", settings=QUICK):
                pass
    async with (
        scripted(opens_and_breaks, refuses) as url,
        connect(url, name="ada", settings=QUICK) as session,
    ):
        with pytest.raises(Disconnected, match="bad_token") as over:
            await session.ping()
        assert over.value.code == "bad_token"


async def test_a_refused_greeting_says_when_to_come_again() -> None:
    async def refuses(peer: Peer) -> None:
        request = await peer.expect(SessionOpen)
        too_many = ErrorReply(request.ref, "too_many_sessions", "", retry=True, retry_in_s=0.5)
        await peer.send(too_many)
        await peer.silence()

    async with scripted(refuses) as url:
        with pytest.raises(RequestFailed, match="too_many_sessions") as failed:
            async with connect(url, name="ada", settings=QUICK):
                pass
    assert failed.value.retry_in_s == 0.5


async def test_nobody_there_is_told_at_once() -> None:
    async with scripted() as url:
        pass  # this port was free a moment ago
    with pytest.raises(CannotConnect, match="connection refused"):
        async with connect(url, name="ada"):
            pass


async def test_an_exception_of_the_body_comes_out_as_it_is() -> None:
    async def server(peer: Peer) -> None:
        await peer.answer(SessionOpen, opened())
        await part(peer)

    async with scripted(server) as url:
        with pytest.raises(LookupError, match="mine"):
            async with connect(url, name="ada", settings=QUICK):
                raise LookupError("mine")


async def test_a_wrong_address_or_neither_name_nor_session_is_a_mistake_of_the_caller() -> None:
    for url in ("http://127.0.0.1/ws", "127.0.0.1:7350", "ws://"):
        with pytest.raises(ValueError, match="not a WebSocket address"):
            async with connect(url, name="ada"):
                pass
    with pytest.raises(ValueError, match="give either a name"):
        async with connect():
            pass
