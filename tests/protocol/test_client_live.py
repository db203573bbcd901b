"""Client and server together, over a connection that is cut, and with a server that restarts."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
import trio

from protocol.client import (
    ClientSettings,
    Disconnected,
    Match,
    ReconnectBackoff,
    RequestFailed,
    Room,
    connect,
)
from protocol.errors import TAKEN_OVER
from protocol.messages.match import MatchEnded, MatchEvent, MatchStatePush
from protocol.messages.room import Message
from tests.protocol.cutting import Way, way_to
from tests.server_process import PATIENT, ROOT, Server

LIMIT_S = 30.0
SETTINGS = ClientSettings(
    backoff=ReconnectBackoff(first_s=0.02, max_s=0.2), request_timeout_s=LIMIT_S
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("live")) as running:
        yield running


async def bodies(room: Room, count: int) -> list[str]:
    """Return the next so many messages. A gap fails the test."""
    with trio.fail_after(LIMIT_S):
        got = [await anext(room) for _ in range(count)]
    assert all(isinstance(message, Message) for message in got), got
    return [message.body for message in got if isinstance(message, Message)]


async def keep_cutting(way: Way, rng: random.Random) -> None:
    while True:
        await trio.sleep(rng.uniform(0.0, 0.08))
        way.cut()


@pytest.mark.parametrize("encoding", ["msgpack", "json"])
async def test_two_clients_chat(server: Server, encoding: Literal["msgpack", "json"]) -> None:
    name = f"chat-{encoding}"
    async with (
        connect(server.ws, name="ada", encoding=encoding, settings=PATIENT) as ada,
        connect(server.ws, name="bob", settings=PATIENT) as bob,
    ):
        here = await ada.join(name)
        there = await bob.join(name)
        updates = here.updates()
        assert "bob" in str(await anext(updates))
        sent = await there.send("hello ada")
        assert await anext(updates) == await anext(there)
        assert [member.name for member in here.members] == ["ada", "bob"]
        page = await here.history(limit=1)
        assert (page.messages[0].offset, page.messages[0].body) == (sent.offset, "hello ada")
        await there.leave()
        assert "RoomLeft" in str(await anext(updates))
        with pytest.raises(RequestFailed, match="not_joined"):
            await there.send("still here?")
        assert 0 < await ada.ping() < LIMIT_S


async def test_cut_again_and_again_a_reader_misses_nothing_and_a_writer_repeats_nothing(
    server: Server,
) -> None:
    count, rng = 60, random.Random(4)
    expected = [f"message {number}" for number in range(count)]
    async with (
        way_to(server.port) as way,
        connect(way.url, name="ada", settings=SETTINGS, rng=rng) as ada,
        connect(way.url, name="bob", settings=SETTINGS, rng=rng) as bob,
    ):
        here, there = await ada.join("cut"), await bob.join("cut")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_cutting, way, rng)
            for body in expected:
                await there.send(body)
                await trio.sleep(0.005)
            nursery.cancel_scope.cancel()
        assert await bodies(here, count) == expected
        assert await bodies(there, count) == expected
        assert way.cuts > 4


async def test_many_sends_at_once_over_cuts_each_stand_in_the_room_once(server: Server) -> None:
    count, rng = 80, random.Random(5)
    async with (
        way_to(server.port) as way,
        connect(way.url, name="ada", settings=SETTINGS, rng=rng) as ada,
    ):
        room = await ada.join("burst")
        async with trio.open_nursery() as cutting:
            cutting.start_soon(keep_cutting, way, rng)
            async with trio.open_nursery() as nursery:
                for number in range(count):
                    nursery.start_soon(room.send, f"{number}")
                    await trio.sleep(0.003)
            cutting.cancel_scope.cancel()
        said = [message.body for message in (await room.history(limit=200)).messages]
        assert sorted(said, key=int) == [str(number) for number in range(count)]
        assert await bodies(room, count) == said


async def play(match: Match, me: str) -> list[str]:
    """Play the first free cell in each of one's turns; returns the updates."""
    happened = []
    with trio.fail_after(LIMIT_S):
        async for update in match:
            if isinstance(update, MatchEvent):
                happened.append(f"{update.kind} {match.names.get(str(update.player))}")
            elif isinstance(update, MatchEnded):
                happened.append(f"ended {update.result['by']}")
            elif isinstance(update, MatchStatePush) and update.state["turn"] == me:
                await trio.sleep(0.05)  # so that cuts come at every point of a turn
                try:
                    await match.input({"cell": update.state["board"].index(".")})
                except RequestFailed:
                    # It was sent again after a cut, and the first one had ended the match.
                    assert match.ended is not None
    return happened


async def test_a_match_is_played_to_its_end_over_cuts(server: Server) -> None:
    rng = random.Random(6)
    stories: dict[str, list[str]] = {}

    async def player(name: str, match: Match, me: str) -> None:
        stories[name] = await play(match, me)

    async with (
        way_to(server.port) as way,
        connect(way.url, name="ada", settings=SETTINGS, rng=rng) as ada,
        connect(way.url, name="bob", settings=SETTINGS, rng=rng) as bob,
    ):
        hers = await ada.create_match("tictactoe")
        async with trio.open_nursery() as cutting:
            cutting.start_soon(keep_cutting, way, rng)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(player, "ada", hers, ada.opened.user)
                his = await bob.join_match(hers.id)
                nursery.start_soon(player, "bob", his, bob.opened.user)
            cutting.cancel_scope.cancel()
    # The first free cell, in turn, ends with 2-4-6: X wins.
    assert way.cuts > 2
    assert stories["ada"][-1] == stories["bob"][-1] == "ended line"
    assert "joined bob" in stories["ada"]


async def test_a_newer_connection_takes_the_session_over(server: Server) -> None:
    async with connect(server.ws, name="ada", settings=PATIENT) as first:
        room = await first.join("taken")
        async with connect(server.ws, resume=first.opened.token, settings=PATIENT) as second:
            assert second.opened.user == first.opened.user
            assert second.opened.resumed
            with pytest.raises(Disconnected) as over:
                await anext(room)
            assert over.value.close is TAKEN_OVER


async def test_leaving_ends_the_session_for_good(server: Server) -> None:
    async with connect(server.ws, name="ada", settings=PATIENT) as first:
        token = first.opened.token
    async with connect(server.ws, resume=token, settings=PATIENT) as second:
        assert not second.opened.resumed
        assert second.opened.user == first.opened.user


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_over_a_restart_of_the_server_nothing_is_missed(
    tmp_path: Path, number: signal.Signals
) -> None:
    start = partial(trio.to_thread.run_sync, Server, tmp_path)
    server = await start()
    try:
        async with (
            way_to(server.port) as way,
            connect(way.url, name="ada", settings=SETTINGS) as ada,
            connect(way.url, name="bob", settings=SETTINGS) as bob,
        ):
            here, there = await ada.join("phoenix"), await bob.join("phoenix")
            await there.send("before")
            stop = server.kill if number is signal.SIGKILL else server.stop
            await trio.to_thread.run_sync(stop)
            server = await start()
            way.port = server.port
            await there.send("after")
            assert await bodies(here, 2) == ["before", "after"]
            assert await bodies(there, 2) == ["before", "after"]
            async with connect(server.ws, name="eve", settings=PATIENT) as eve:
                backlog = (await eve.join("phoenix")).backlog
            assert [message.body for message in backlog] == ["before", "after"]
    finally:
        await trio.to_thread.run_sync(server.stop)


async def test_two_terminals_talk(server: Server) -> None:
    command = [sys.executable, "-m", "protocol.client", "--url", server.ws, "--room", "tty"]

    def start(name: str) -> list[str]:
        return [*command, "--name", name]

    async with trio.open_nursery() as nursery:
        ada: trio.Process = await nursery.start(
            partial(
                trio.run_process,
                start("ada"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=ROOT,
            )
        )
        assert ada.stdin is not None
        assert ada.stdout is not None
        seen = b""
        with trio.fail_after(LIMIT_S):
            while b"here: ada" not in seen:
                seen += await ada.stdout.receive_some()
            bob = await trio.run_process(
                start("bob"), stdin=b"hi ada\n", capture_stdout=True, cwd=ROOT
            )
            while b"bob left" not in seen:
                seen += await ada.stdout.receive_some()
            await ada.stdin.aclose()
    lines = [line.decode() for line in seen.splitlines()]
    assert [line[-8:] for line in lines[1:]] == ["bob came", ": hi ada", "bob left"]
    assert b"here: ada, bob" in bob.stdout
    assert b"bob: hi ada" in bob.stdout
