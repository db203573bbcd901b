"""Whole servers that are one cluster, as on several machines: each has a parent and a folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

from actors.cluster.rules.slots import SLOTS
from actors.node.exits import Exit
from protocol.client import Session, connect
from server import VERSION
from tests.server_process import PATIENT, Server, alone_in, flags, run, wait_until_gone
from tests.test_cluster import LIMIT_S, bodies, node_of, send
from tests.test_server import one_line

Shared = Sequence[str]


def of_machine(name: str, same_stores: Shared, *settings: str) -> tuple[str, ...]:
    return (*same_stores, f"server.name={name}", *settings)


def refused(folder: Path, *settings: str, code: Exit = Exit.NOT_ALONE) -> str:
    """Start a server that refuses to start beside others; returns its one line."""
    ended = run("serve", *flags(*alone_in(folder), *settings))
    assert ended.code == code, ended
    return one_line("\n".join(line for line in ended.err.splitlines() if line[0] != "{"))


async def until_shared(*servers: Server) -> None:
    """Return once each server holds its part of what is placed."""

    def held() -> list[float]:
        return [server.metric("greenroom_cluster_slots") for server in servers]

    with trio.fail_after(LIMIT_S):
        while True:
            found = await trio.to_thread.run_sync(held)
            if sum(found) == SLOTS and min(found) > SLOTS / len(servers) / 2:
                return
            await trio.sleep(0.1)


@asynccontextmanager
async def one_on_each(*servers: Server) -> AsyncIterator[list[Session]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(connect(server.ws, name="ada", settings=PATIENT))
            for server in servers
        ]


async def test_players_of_two_servers_share_rooms_and_one_is_killed_whole(
    tmp_path: Path, same_stores: Shared
) -> None:
    """The players of the dead one come to the other, as a load balancer sends them there."""
    names = [f"room-{number}" for number in range(6)]
    two = ("server.nodes=2",)
    with (
        Server(tmp_path / "here", *of_machine("here", same_stores, *two)) as here,
        Server(tmp_path / "there", *of_machine("there", same_stores, *two)) as there,
    ):
        async with one_on_each(here, there) as (ada, bob):
            assert [node_of(one).partition("-")[0] for one in (ada, bob)] == ["here", "there"]
            rooms = {name: (await ada.join(name), await bob.join(name)) for name in names}
            for mine, theirs in rooms.values():
                await mine.send("from here")
                await theirs.send("from there")
                assert await bodies(mine, 2) == await bodies(theirs, 2)
        async with one_on_each(here) as (ada,):
            alone = {name: await ada.join(name) for name in names}
            family = there.family()
            there.kill()
            assert wait_until_gone(family) == set(), "a node has survived its parent"
            for name, room in alone.items():
                await send(room, f"after, in {name}")
                log = (await room.history(limit=10)).messages
                assert [one.body for one in log] == ["from here", "from there", f"after, in {name}"]
        assert here.stop() == Exit.OK


async def test_single_nodes_are_a_cluster_if_they_say_so(
    tmp_path: Path, same_stores: Shared
) -> None:
    one = "server.cluster=true"
    with (
        Server(tmp_path / "a", *of_machine("a", same_stores, one)) as a,
        Server(tmp_path / "b", *of_machine("b", same_stores, one)) as b,
    ):
        await until_shared(a, b)
        async with one_on_each(a, b) as (ada, bob):
            for name in ("one", "two", "three", "four"):
                rooms = [await ada.join(name), await bob.join(name)]
                for room in rooms:
                    await room.send(node_of(ada))
                assert await bodies(rooms[0], 2) == await bodies(rooms[1], 2)
        for server in (a, b):
            assert server.metric("greenroom_cluster_bus_sent_total") > 0
            assert server.metric("greenroom_cluster_bus_received_total") > 0
            assert server.metric("greenroom_cluster_bus_gaps_total") == 0
            assert server.metric("greenroom_cluster_bus_hop_seconds") > 0
        assert b.stop() == Exit.OK
        assert a.stop() == Exit.OK
    with Server(tmp_path / "c", *same_stores) as c:  # the cluster has ended in order
        assert c.stop() == Exit.OK


def test_a_server_alone_and_one_of_a_cluster_do_not_start_beside_each_other(
    tmp_path: Path, same_stores: Shared
) -> None:
    one = "server.cluster=true"
    with Server(tmp_path / "a", *of_machine("a", same_stores, one)) as a:
        line = refused(tmp_path / "b", *same_stores)
        assert "a cluster of servers works on the same schema" in line
        assert "set [server] cluster = true for both" in line
        assert a.stop() == Exit.OK
    with Server(tmp_path / "a", *same_stores) as a:
        line = refused(tmp_path / "b", *same_stores, one)
        assert f"process {a.process.pid} on" in line
        assert a.stop() == Exit.OK


def test_two_nodes_of_one_name_are_refused_by_one_line(tmp_path: Path, same_stores: Shared) -> None:
    one = of_machine("twin", same_stores, "server.cluster=true")
    with Server(tmp_path / "a", *one) as a:
        line = refused(tmp_path / "b", *one)
        assert line.startswith("greenroom: twin-1.")
        assert line.endswith(" lives and has this name: give each node a name of its own")
        ended = run("serve", *flags(*alone_in(tmp_path / "c"), *one, "server.nodes=2"))
        assert ended.code == Exit.NOT_ALONE
        last = ended.err.splitlines()[-1]  # of all that the parent and its nodes have told
        assert last.startswith("greenroom: twin-1 cannot be kept running: exit code 10: twin-1.")
        assert last.endswith(" lives and has this name: give each node a name of its own")
        assert a.stop() == Exit.OK


def test_a_store_that_is_not_the_others_is_found_and_said(
    tmp_path: Path, same_stores: Shared
) -> None:
    """The second one shares PostgreSQL with the first; its Valkey might be any other."""
    quick = ("server.cluster=true", "cluster.lease_s=1.5")
    with Server(tmp_path / "a", *of_machine("a", same_stores, *quick)) as a:
        other = of_machine("b", same_stores, *quick, "redis.prefix=other:")
        line = refused(tmp_path / "b", *other, code=Exit.STORE)
        assert line.startswith("greenroom: the stores are not of one cluster: a-1.")
        assert a.get("/readyz")[0] == 200
        assert a.stop() == Exit.OK


@pytest.mark.parametrize("missing", ["postgres", "redis"])
def test_a_cluster_needs_stores_that_all_reach(
    missing: str, tmp_path: Path, same_stores: Shared
) -> None:
    given = [one for one in same_stores if not one.startswith(f"{missing}.url")]
    ours = (f"server.data_dir={tmp_path}", "server.cluster=true", *given)
    ended = run("check-config", *flags(*ours))
    assert ended.code == Exit.CONFIG
    assert one_line(ended.err).endswith("servers of a cluster need stores that all of them reach")


def test_the_command_shows_the_nodes_of_all_machines(tmp_path: Path, same_stores: Shared) -> None:
    one = "server.cluster=true"

    def shown(folder: Path, *settings: str) -> list[list[str]]:
        ended = run("cluster", *flags(f"server.data_dir={folder}", *same_stores, *settings))
        assert ended.code == Exit.OK, ended
        lines = ended.out.splitlines()
        first = next(at for at, line in enumerate(lines) if line.startswith("the cluster: 3 nodes"))
        assert lines[first + 1].split()[:6] == ["node", "state", "for", "machine", "pid", "slots"]
        return [line.split() for line in lines[first + 2 :]]

    with (
        Server(tmp_path / "a", *of_machine("a", same_stores, one)) as a,
        Server(tmp_path / "b", *of_machine("b", same_stores, "server.nodes=2")) as b,
    ):
        for rows in (shown(tmp_path / "a", one), shown(tmp_path / "b", "server.nodes=2")):
            assert [row[0].partition(".")[0] for row in rows] == ["a-1", "b-1", "b-2"]
            assert {row[1] for row in rows} == {"up"}
            pids = [int(row[5]) for row in rows]  # "for" has two words
            assert pids[0] == a.process.pid
            assert set(pids[1:]) <= b.family()
            assert sum(int(row[6]) for row in rows) <= SLOTS
            assert {row[7] for row in rows} == {VERSION}
        ended = run("cluster", *flags(f"server.data_dir={tmp_path / 'b'}"))
        assert "the cluster: 3 nodes" in ended.out, "a server knows the stores that it was given"
        assert {b.stop(), a.stop()} == {Exit.OK}
    ended = run("cluster", *flags(f"server.data_dir={tmp_path / 'a'}", *same_stores, one))
    assert (ended.code, ended.out) == (Exit.NO_SERVER, "")
    assert one_line(ended.err) == "greenroom: no node of the cluster lives"
