"""What befalls a server of several nodes from outside: stores that end, files that run out."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from actors.node.exits import Exit
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
