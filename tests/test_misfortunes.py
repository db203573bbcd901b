"""What befalls a server of several nodes from outside: stores that end, files that run out."""

from __future__ import annotations

import os
import resource
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import psycopg
import pytest
import trio

from actors.node.exits import Exit
from bench.folder import temporary_data
from persistence.embedded import EmbeddedServers
from protocol.client import RequestFailed
from tests.actors.node.parent.hoarding import PIECE_BYTES
from tests.persistence.postgres.replicas import replica_of
from tests.protocol.live import upgrade
from tests.server_process import Server, run
from tests.test_cluster import LIMIT_S, Cluster, bodies, one_on_each, send
from tests.test_nodes import SERVER

pytestmark = pytest.mark.failover


async def test_postgresql_that_fails_over_ends_no_node_and_loses_nothing(tmp_path: Path) -> None:
    """It is back on the same address, and every connection to it is broken."""
    with Cluster(tmp_path, 2) as server:
        server.wait_until_shared()
        pids = [row.pid for row in server.rows()]
        names = [f"room-{number}" for number in range(4)]
        async with one_on_each(server.ws, "web-1", "web-2") as sessions:
            rooms = {
                name: [await session.join(name) for session in sessions.values()] for name in names
            }
            for mine, _ in rooms.values():
                await mine.send("before")
            before = server.postgres()
            os.kill(before, signal.SIGKILL)
            async with trio.open_nursery() as nursery:
                for name in names:
                    for room in rooms[name]:
                        nursery.start_soon(send, room, f"after, by {rooms[name].index(room)}")
            for name in names:
                first, second = [await bodies(room, 3) for room in rooms[name]]
                assert first == second
                assert first[0] == "before"
                assert sorted(first[1:]) == ["after, by 0", "after, by 1"]
        assert server.postgres() != before
        assert [row.pid for row in server.rows()] == pids
        assert {row.state for row in server.rows()} == {"up"}
        assert server.stop() == Exit.OK


async def test_a_standby_that_is_promoted_is_found_by_its_place_in_the_url(tmp_path: Path) -> None:
    """The standby is synchronous, as it must be for nothing acknowledged to be lost."""
    with (
        temporary_data() as folder,  # which PostgreSQL may open, if it runs as another user
        EmbeddedServers(folder / "data") as stores,
        replica_of(stores.postgres_url) as standby,
    ):
        with psycopg.connect(stores.postgres_url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
        settings = (f"postgres.url={either(stores.postgres_url, standby.url)}",
                    f"redis.url={stores.redis_url}")  # fmt: skip
        with Cluster(tmp_path / "server", 2, *settings) as server:
            server.wait_until_shared()
            pids = [row.pid for row in server.rows()]
            names = [f"room-{number}" for number in range(4)]
            async with one_on_each(server.ws, "web-1", "web-2") as sessions:
                rooms = {
                    name: [await one.join(name) for one in sessions.values()] for name in names
                }
                for mine, _ in rooms.values():
                    await mine.send("before")
                os.kill(stores.pids["PostgreSQL"], signal.SIGKILL)
                standby.run("SELECT pg_promote()")
                async with trio.open_nursery() as nursery:
                    for name in names:
                        for number, room in enumerate(rooms[name]):
                            nursery.start_soon(send, room, f"after, by {number}")
                for name in names:
                    for room in rooms[name]:
                        log = (await room.history(limit=10)).messages
                        found = [one.body for one in log]
                        assert found[0] == "before"
                        assert sorted(found[1:]) == ["after, by 0", "after, by 1"]
            assert [row.pid for row in server.rows()] == pids
            assert server.stop() == Exit.OK


def either(primary: str, standby: str) -> str:
    """Return the URL of whichever of two servers can be written to."""
    hosts = [parse_qs(urlsplit(url).query)["host"][0] for url in (primary, standby)]
    base = primary.partition("?")[0]
    return f"{base}?host={quote(','.join(hosts), safe='')}&target_session_attrs=read-write"


async def test_nodes_without_a_file_to_spare_turn_clients_away_and_stay_members(
    tmp_path: Path,
) -> None:
    files = (256, 256)
    settings = ("server.nodes=2", "server.name=web", "wire.first_message_timeout_s=600")
    with Server(tmp_path, *settings, entry=SERVER, files=files) as server:
        answers: list[bytes] = []
        async with AsyncExitStack() as stack, trio.open_nursery() as nursery:

            async def come() -> None:
                stream = await trio.open_tcp_stream("127.0.0.1", server.port)
                await stack.enter_async_context(stream)
                await stream.send_all(upgrade())
                answers.append(await stream.receive_some())

            with trio.fail_after(LIMIT_S):
                async with trio.open_nursery() as many:
                    for _ in range(2 * files[0]):
                        many.start_soon(come)
            refused = sum(answer.startswith(b"HTTP/1.1 503") for answer in answers)
            taken = sum(answer.startswith(b"HTTP/1.1 101") for answer in answers)
            assert refused
            assert taken
            assert refused + taken == len(answers) == 2 * files[0]
            shown = await trio.to_thread.run_sync(
                run, "cluster", "--set", f"server.data_dir={tmp_path}"
            )
            assert ": 2 of 2 nodes up" in shown.out
            assert server.metric("greenroom_node_restarts_total") == 0
            nursery.cancel_scope.cancel()
        assert server.stop() == Exit.OK


async def test_a_game_that_takes_all_memory_of_its_node_fails_and_nobody_else_does(
    tmp_path: Path,
) -> None:
    """The limit is the system's own (RLIMIT_AS), as a container's is that has one."""
    game = "games.hoarding=tests.actors.node.parent.hoarding:Hoarding"
    with Cluster(tmp_path, 2, game) as server:
        server.wait_until_shared()
        pids = [row.pid for row in server.rows()]
        for pid in pids:
            limit = virtual_bytes(pid) + 4 * PIECE_BYTES
            resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))
        async with one_on_each(server.ws, "web-1", "web-2") as sessions:
            ada, bob = sessions.values()
            rooms = [await ada.join("lobby"), await bob.join("lobby")]
            match = await ada.create_match("hoarding")
            told = await trio.to_thread.run_sync(server.wait_for_event, "match_failed")
            assert (told["key"], told["reason"]) == (match.id, "crashed 3 times in a row")
            crash = await trio.to_thread.run_sync(server.wait_for_event, "game_crashed")
            assert crash["error"] == "tick() of game hoarding: MemoryError()"
            for number, room in enumerate(rooms):
                await room.send(f"by {number}")
            with pytest.raises(RequestFailed) as refused:
                await bob.join_match(match.id)
            assert refused.value.code == "match_ended"
        assert [row.pid for row in server.rows()] == pids
        assert server.stop() == Exit.OK


def virtual_bytes(pid: int) -> int:
    """Return how much address space a process has."""
    status = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    (size,) = (line.split()[1] for line in status if line.startswith("VmSize:"))
    return int(size) * 1024
