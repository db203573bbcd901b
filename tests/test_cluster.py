"""A server of several nodes, as its clients see it: one server, whichever node they are on."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from actors.cluster.rules.slots import SLOTS
from actors.node.exits import Exit
from protocol.client import ClientError, Gap, MatchUpdate, RequestFailed, Room, Session, connect
from protocol.messages.match import MatchEnded
from tests.server_process import PATIENT, entry, run
from tests.test_inbox import notes, tell
from tests.test_nodes import Nodes

LIMIT_S = 120.0


class Cluster(Nodes):
    """Several nodes whose clients can be told apart by node."""

    def wait_until_shared(self) -> None:
        """Return once each node has its share of what is placed."""
        count = len(self.rows())
        self.wait_for(
            lambda rows: (
                sum(row.slots for row in rows) == SLOTS
                and all(row.slots > SLOTS / count / 2 for row in rows)
            )
        )

    def kill_node(self, name: str) -> None:
        pid = self.row(name).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)


def node_of(session: Session) -> str:
    """Return the name of the node that a session is on."""
    return session.opened.session.partition(".")[0]


@asynccontextmanager
async def one_on_each(url: str, *nodes: str) -> AsyncIterator[dict[str, Session]]:
    """Open a session on each of these nodes. The kernel chooses nodes, so it tries some more."""
    async with AsyncExitStack() as stack:
        found: dict[str, Session] = {}
        for _ in range(100):
            one = connect(url, name="ada", settings=PATIENT)
            session = await stack.enter_async_context(one)
            found.setdefault(node_of(session), session)
            if set(found) == set(nodes):
                break
        assert set(found) == set(nodes)
        yield found


async def bodies(room: Room, count: int) -> list[str]:
    """Return the next messages of a room, without those that a crash has made void."""
    heard: dict[int, str] = {}
    with trio.fail_after(LIMIT_S):
        async for one in room:
            if isinstance(one, Gap):
                assert one.cause == "void", one
                for offset in range(one.first, one.last + 1):
                    heard.pop(offset, None)
                continue
            heard[one.offset] = one.body
            if len(heard) == count:
                return list(heard.values())
    raise AssertionError(heard)


FEW_LOADED = (
    "sessions.activations_per_s=1", "sessions.activations_burst=64", "sessions.messages_per_s=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    with Cluster(folder, 2, *FEW_LOADED, entry=entry("--with-trial")) as server:
        server.wait_until_shared()
        yield server
        assert server.stop() == Exit.OK


async def test_rooms_are_shared_by_the_clients_of_all_nodes(cluster: Cluster) -> None:
    async with one_on_each(cluster.ws, "web-1", "web-2") as sessions:
        for name in ("shared-1", "shared-2", "shared-3", "shared-4"):  # on either node
            rooms = [await session.join(name) for session in sessions.values()]
            for number, room in enumerate(rooms * 5):
                await room.send(f"{number}")
            assert [await bodies(room, 10) for room in rooms] == [[str(n) for n in range(10)]] * 2
            assert (await rooms[0].refresh_members()) == (await rooms[1].refresh_members())
            assert len((await rooms[0].history(limit=100)).messages) == 10


async def test_a_member_on_another_node_comes_and_goes_for_all(cluster: Cluster) -> None:
    async with one_on_each(cluster.ws, "web-1", "web-2") as sessions:
        first, second = sessions.values()
        rooms = [await session.join("come-and-go") for session in (first, second)]
        assert len(await rooms[0].refresh_members()) == 2
        await rooms[1].leave()
        assert len(await rooms[0].refresh_members()) == 1
        await second.join("come-and-go")
        assert len(await rooms[0].refresh_members()) == 2


async def test_a_session_that_ended_is_out_of_rooms_of_other_nodes(cluster: Cluster) -> None:
    async with one_on_each(cluster.ws, "web-1", "web-2") as sessions:
        (_, first), (_, second) = sessions.items()
        room = await first.join("ended")
        async with connect(cluster.ws, name="bob", settings=PATIENT) as third:
            await third.join("ended")
            await second.join("ended")
            assert len(await room.refresh_members()) == 3
        with trio.fail_after(LIMIT_S):
            while len(await room.refresh_members()) != 2:
                await trio.sleep(0.05)


async def test_a_join_of_a_room_in_memory_of_another_node_is_not_charged_as_one_that_loads_it(
    cluster: Cluster,
) -> None:
    async with one_on_each(cluster.ws, "web-1", "web-2") as sessions:
        names = [f"loaded-{number}" for number in range(4)]  # some on either node
        first, second = sessions.values()
        for name in names:
            await first.join(name)
        for _ in range(50):  # in all more than sessions.activations_burst on either node
            for name in names:
                room = await second.join(name)
                await room.leave()


async def test_a_match_is_played_from_both_nodes(cluster: Cluster) -> None:
    async with one_on_each(cluster.ws, "web-1", "web-2") as sessions:
        first, second = sessions.values()
        ours = await first.create_match("tictactoe")
        assert ours.id in [one.match for one in await second.matches("tictactoe")]
        theirs = await second.join_match(ours.id)
        for match, cell in ((ours, 0), (theirs, 3), (ours, 1), (theirs, 4), (ours, 2)):
            taken = await match.input({"cell": cell})
            assert taken.durable
        for match in (ours, theirs):
            end = await _end(match)
            assert end.result["winner"] == first.opened.user


async def _end(match: AsyncIterator[MatchUpdate]) -> MatchEnded:
    with trio.fail_after(LIMIT_S):
        async for update in match:
            if isinstance(update, MatchEnded):
                return update
    raise AssertionError("the match did not end")


async def test_an_inbox_hears_of_what_another_node_puts_there(cluster: Cluster) -> None:
    async with one_on_each(cluster.ws, "web-1", "web-2") as sessions:
        for session in sessions.values():
            inbox = await session.inbox()
            for note in range(1, 5):  # by connections of their own, to whichever node
                await tell(cluster.ws, session.opened.user, note)
            heard: list[Any] = []
            with trio.fail_after(LIMIT_S):
                async for one in inbox:
                    assert not isinstance(one, Gap)
                    heard.append(one.payload["note"])
                    if len(heard) == 4:
                        break
            assert heard == [1, 2, 3, 4]


ALWAYS = ("inboxes.look_every_s=3600", "sessions.resume_within_s=3600")
"""Nobody looks around for what got lost: what is to be known is known at once."""


async def test_a_node_that_is_killed_is_missed_by_nobody(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3, *ALWAYS, entry=entry("--with-trial")) as server:
        server.wait_until_shared()
        names = [f"room-{number}" for number in range(6)]
        async with (
            one_on_each(server.ws, "web-1", "web-2", "web-3") as sessions,
            guest_of("web-2", server.ws) as guest,  # who does not come back
        ):
            rooms = {
                (node, name): await session.join(name)
                for node, session in sessions.items()
                for name in names
            }
            for name in names:
                await rooms["web-1", name].send("before")
                await guest.join(name)
            inboxes = [await session.inbox() for session in sessions.values()]
            server.kill_node("web-2")
            async with trio.open_nursery() as nursery:
                for name in names:
                    for node in sessions:
                        nursery.start_soon(send, rooms[node, name], f"{node} after")
            for name in names:
                logs = [await bodies(rooms[node, name], 4) for node in sessions]
                assert logs[0] == logs[1] == logs[2]
                assert logs[0][0] == "before"
                assert sorted(logs[0][1:]) == [f"web-{number} after" for number in (1, 2, 3)]
            # Who is online: the guest is in no room any more, and all others are reached.
            users = {session.opened.user for session in sessions.values()}
            for name in names:
                await until_here(rooms["web-1", name], users)
            for session, inbox in zip(sessions.values(), inboxes, strict=True):
                await tell(server.ws, session.opened.user, 1, 2)
                with trio.fail_after(LIMIT_S):
                    assert await notes(inbox, 2) == [1, 2]
        server.wait_for(lambda rows: all(row.state == "up" for row in rows))
        assert server.stop() == Exit.OK


@asynccontextmanager
async def guest_of(node: str, url: str) -> AsyncIterator[Session]:
    """A session on this node whose client gives up when its connection breaks."""
    settings = msgspec.structs.replace(PATIENT, give_up_after_s=0.0)
    came = False
    while not came:
        with suppress(ClientError):  # it ends with its node
            async with connect(url, name="guest", settings=settings) as session:
                came = node_of(session) == node
                if came:
                    yield session


async def until_here(room: Room, users: set[str]) -> None:
    """Return once these users are the members."""
    with trio.fail_after(LIMIT_S):
        while {member.user for member in await room.refresh_members()} != users:
            await trio.sleep(0.05)


async def send(room: Room, body: str) -> None:
    """Send until it is acknowledged, with one key."""
    with trio.fail_after(LIMIT_S):
        while True:
            try:
                await room.send(body, key=f"key of {body}")
                return
            except RequestFailed as failed:
                if not failed.retry:
                    raise
                await trio.sleep(0.1)


def restart(server: Cluster) -> None:
    """Restart all nodes, one after the other."""
    done = run("restart", "--set", f"server.data_dir={server.folder}", timeout_s=LIMIT_S)
    assert done.code == 0, done


async def test_a_rolling_restart_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    with Cluster(tmp_path, 2) as server:
        server.wait_until_shared()
        over = trio.Event()
        sent: list[str] = []
        heard: dict[str, list[str]] = {}
        async with one_on_each(server.ws, "web-1", "web-2") as sessions:
            rooms = {node: await session.join("rolling") for node, session in sessions.items()}

            async def speak(node: str) -> None:
                for number in itertools.count():
                    if over.is_set():
                        return
                    await rooms[node].send(f"{node} {number}")
                    sent.append(f"{node} {number}")
                    await trio.sleep(0.02)

            async def listen(node: str) -> None:
                heard[node] = []
                async for message in rooms[node]:
                    assert not isinstance(message, Gap)
                    if message.body == "the end":
                        return
                    heard[node].append(message.body)

            async with trio.open_nursery() as listeners:
                for node in sessions:
                    listeners.start_soon(listen, node)
                async with trio.open_nursery() as speakers:
                    for node in sessions:
                        speakers.start_soon(speak, node)
                    await trio.to_thread.run_sync(restart, server)
                    over.set()
                await rooms["web-1"].send("the end")
            assert heard["web-1"] == heard["web-2"]
            assert sorted(heard["web-1"]) == sorted(sent)
        assert server.stop() == Exit.OK
