"""Friends over the wire: a server of two nodes as users start it, and the Python client."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from actors.edge.identity import node_of
from protocol.client import Friends, RequestFailed, Room, Session, connect
from protocol.messages.inbox import Entry
from protocol.messages.room import Message
from tests.server_process import PATIENT, Server

LIMIT_S = 60.0


async def standing(friends: Friends) -> dict[str, tuple[str, bool]]:
    """How a user stands to others, and who of them is online."""
    return {one.user: (one.state, one.online) async for one in friends.list(page=1)}


async def heard(room: Room, until: str) -> list[tuple[str, str]]:
    """The names and bodies of messages up to this one."""
    found: list[tuple[str, str]] = []
    with trio.fail_after(LIMIT_S):
        async for message in room:
            assert isinstance(message, Message)
            found.append((message.name, message.body))
            if message.body == until:
                break
    return found


async def on_another_node(server: Server, session: Session, stack: AsyncExitStack) -> Session:
    """Go on with a session's user in a new session on another node; connections go to any."""
    token = session.opened.token
    while True:
        attempt = AsyncExitStack()
        one = await attempt.enter_async_context(connect(server.ws, resume=token, settings=PATIENT))
        if node_of(one.opened.session) != node_of(session.opened.session):
            stack.push_async_exit(attempt)
            return one
        token = one.opened.token
        await attempt.aclose()


async def test_friends_and_blocks_hold_on_two_nodes(tmp_path: Path) -> None:
    start = lambda: Server(tmp_path, "server.nodes=2")  # noqa: E731
    with await trio.to_thread.run_sync(start) as server:
        async with (
            connect(server.ws, name="ada", settings=PATIENT) as ada,
            connect(server.ws, name="cyd", settings=PATIENT) as cyd,
            AsyncExitStack() as stack,
        ):
            bob = await stack.enter_async_context(connect(server.ws, name="bob", settings=PATIENT))
            me, you = ada.opened.user, bob.opened.user
            inbox = await ada.inbox()
            assert (await bob.friends.request(me)).state == "requested"
            assert (await ada.friends.accept(you)).state == "friend"
            with trio.fail_after(LIMIT_S):
                async for entry in inbox:
                    assert isinstance(entry, Entry)
                    assert entry.type == "friend.tie"
                    if entry.payload == {"user": you, "state": "friend"}:
                        break
            assert await standing(ada.friends) == {you: ("friend", True)}
            assert await standing(bob.friends) == {me: ("friend", True)}

            rooms = {one: await one.join("lobby") for one in (ada, bob, cyd)}
            await rooms[bob].send("as a friend")
            await ada.friends.block(you)
            await rooms[bob].send("as a blocked one")
            there = await on_another_node(server, bob, stack)
            room = await there.join("lobby")
            await room.send("from another node")
            await rooms[cyd].send("good night")
            assert await heard(rooms[ada], "good night") == [
                ("bob", "as a friend"),
                ("", ""),
                ("", ""),
                ("cyd", "good night"),
            ]
            assert [body for _, body in await heard(rooms[cyd], "good night")] == [
                "as a friend",
                "as a blocked one",
                "from another node",
                "good night",
            ]
            with pytest.raises(RequestFailed) as refused:
                await there.friends.request(me)
            assert refused.value.code == "forbidden"
            assert [one.user async for one in ada.friends.blocked()] == [you]
            assert await standing(there.friends) == {}
            await ada.friends.unblock(you)
            await room.send("forgiven")
            assert await heard(rooms[ada], "forgiven") == [("bob", "forgiven")]
        assert server.stop() == 0
