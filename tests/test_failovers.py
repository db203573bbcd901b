"""A server of two nodes on a Valkey that fails over: behind real Sentinels, and in a real Cluster.

A failover loses about the last second of what Valkey had; nothing of it is what players have been
told is there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from actors.node.exits import Exit
from protocol.client import connect
from tests.persistence.redis.valkeys import sharded, watched
from tests.server_process import PATIENT
from tests.test_cluster import LIMIT_S, Cluster, bodies, one_on_each, send

pytestmark = pytest.mark.failover

DOWN_MS = 4000
"""As the pages say: a whole lease."""
ROOMS = [f"room-{number}" for number in range(4)]


async def plays_through(folder: Path, redis_url: str, fail_over: Callable[[], None]) -> None:
    """Play on a server of two nodes before and after a failover, and on one that starts then."""
    settings = (f"redis.url={redis_url}", "log.format=json")
    with Cluster(folder, 2, *settings) as server:
        server.wait_until_shared()
        async with one_on_each(server.ws, "web-1", "web-2") as sessions:
            first, second = sessions.values()
            rooms = {name: (await first.join(name), await second.join(name)) for name in ROOMS}
            ours = await first.create_match("tictactoe")
            theirs = await second.join_match(ours.id)
            for name in ROOMS:
                await send(rooms[name][0], "before")
            await ours.input({"cell": 0})
            await trio.to_thread.run_sync(fail_over)
            async with trio.open_nursery() as nursery:
                for name in ROOMS:
                    for number, room in enumerate(rooms[name]):
                        nursery.start_soon(send, room, f"after, by {number}")
            for name in ROOMS:
                heard, same = [await bodies(room, 3) for room in rooms[name]]
                assert heard == same
                assert heard[0] == "before"
            with trio.fail_after(LIMIT_S):
                await theirs.input({"cell": 3})
                await ours.input({"cell": 1})
        server.wait_until_shared()
        assert server.stop() == Exit.OK
    with Cluster(folder, 2, *settings) as server:
        async with connect(server.ws, name="eve", settings=PATIENT) as session:
            for name in ROOMS:
                log = (await (await session.join(name)).history(limit=10)).messages
                found = [one.body for one in log]
                assert found[0] == "before"
                assert sorted(found[1:]) == ["after, by 0", "after, by 1"]
            assert ours.id in [one.match for one in await session.matches("tictactoe")]
        assert server.stop() == Exit.OK


async def test_two_nodes_behind_sentinels_play_on_through_a_failover(tmp_path: Path) -> None:
    with watched(tmp_path / "valkeys", down_ms=DOWN_MS) as valkeys:

        def fail_over() -> None:
            valkeys.lose_what_comes_now()
            valkeys.fail_over()

        await plays_through(tmp_path / "server", valkeys.url, fail_over)


async def test_two_nodes_on_a_sharded_valkey_play_on_when_the_server_of_their_claims_fails_over(
    tmp_path: Path,
) -> None:
    with sharded(tmp_path / "valkeys", down_ms=DOWN_MS) as valkeys:
        home = valkeys.primary_of("greenroom:{cluster}:nodes")
        valkeys.add_replica(home)
        await plays_through(tmp_path / "server", valkeys.url, lambda: valkeys.fail_over(home))
