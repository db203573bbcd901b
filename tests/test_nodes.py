"""Several nodes behind one port, as processes under a parent."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from actors.node.exits import Exit
from actors.node.parent.control import ControlReply, Progress, RestartAll, Show, ask
from actors.node.parent.overview import NodeRow, Overview
from tests.protocol.live import upgrade
from tests.server_process import (
    BANNER,
    ROOT,
    Server,
    alone_in,
    descendants,
    environment,
    flags,
    run,
    wait_until_gone,
)
from tests.test_server import full_pipe, one_line

SERVER = (str(ROOT / "server.py"),)
PATIENCE = (
    "wire.first_message_timeout_s=600", "wire.keepalive_timeout_s=600",
)  # fmt: skip
"""Guests open no session, and answer no pings."""
LIMIT_S = 120.0
PING = bytes([0x89, 0x80, 0, 0, 0, 0])
CLOSE = 0x88
PONG = bytes([0x8A, 0])


class Nodes(Server):
    """A server of several nodes, web-1 and so on."""

    def __init__(
        self,
        folder: Path,
        count: int,
        *settings: str,
        cwd: Path = ROOT,
        entry: Sequence[str] = SERVER,
    ) -> None:
        ours = (f"server.nodes={count}", "server.name=web")
        super().__init__(folder, *ours, *PATIENCE, *settings, cwd=cwd, entry=entry)

    def rows(self) -> tuple[NodeRow, ...]:
        (answer,) = ask(self.folder, Show())
        assert isinstance(answer, Overview)
        return answer.nodes

    def row(self, name: str) -> NodeRow:
        return next(row for row in self.rows() if row.name == name)

    def wait_for(self, reached: Callable[[tuple[NodeRow, ...]], bool]) -> tuple[NodeRow, ...]:
        """Return the rows of the nodes once the function accepts them."""
        deadline = time.monotonic() + LIMIT_S
        while not reached(rows := self.rows()):
            assert time.monotonic() < deadline, (rows, self.err[-10:])
            time.sleep(0.05)
        return rows

    def wait_for_event(self, event: str, node: str | None = None) -> dict[str, object]:
        deadline = time.monotonic() + LIMIT_S
        while True:
            for one in self.events():
                if one["event"] == event and node in (None, one.get("node")):
                    return one
            assert time.monotonic() < deadline, self.err[-10:]
            time.sleep(0.05)


class Guest:
    """A connection that is pinged again and again, until it is closed."""

    def __init__(self) -> None:
        self.pongs = 0
        self.closed = False

    async def stay(self, port: int, *, task_status: trio.TaskStatus[None]) -> None:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(upgrade())
            got = b""
            while b"\r\n\r\n" not in got:
                got += await stream.receive_some()
            assert got.startswith(b"HTTP/1.1 101")
            task_status.started()
            with contextlib.suppress(trio.BrokenResourceError):
                while True:
                    await stream.send_all(PING)
                    got = await stream.receive_some()
                    if not got or got[0] == CLOSE:
                        break
                    self.pongs += PONG in got  # the server pings as well
                    await trio.sleep(0.1)
        self.closed = True


class Crowd:
    """Many guests."""

    def __init__(self) -> None:
        self.guests: list[Guest] = []

    @property
    def closed(self) -> int:
        return sum(guest.closed for guest in self.guests)

    async def all_are_answered(self) -> None:
        """Return once each guest that is still there was answered again."""
        before = {guest: guest.pongs for guest in self.guests}
        while any(guest.pongs == before[guest] and not guest.closed for guest in before):
            await trio.sleep(0.02)


@asynccontextmanager
async def crowd(port: int, size: int) -> AsyncIterator[Crowd]:
    here = Crowd()
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            for _ in range(size):
                guest = Guest()
                await nursery.start(guest.stay, port)
                here.guests.append(guest)
            yield here
            nursery.cancel_scope.cancel()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with Nodes(tmp_path_factory.mktemp("nodes"), 4, "server.hung_after_s=5") as server:
        yield server
        family = server.family()
        assert server.stop() == Exit.OK
        assert wait_until_gone(family) == set()


# --- as a whole ----------------------------------------------------------------------------------


async def test_a_thousand_connections_are_spread_over_all_nodes(nodes: Nodes) -> None:
    async with crowd(nodes.port, 0), trio.open_nursery() as nursery:
        streams: list[trio.SocketStream] = []

        async def come() -> None:
            stream = await trio.open_tcp_stream("127.0.0.1", nodes.port)
            streams.append(stream)
            await stream.send_all(upgrade())
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 101")

        for _ in range(100):
            async with trio.open_nursery() as ten:
                for _ in range(10):
                    ten.start_soon(come)

        def all_are_there(rows: tuple[NodeRow, ...]) -> bool:
            return sum(row.connections for row in rows) == 1000

        rows = await trio.to_thread.run_sync(nodes.wait_for, all_are_there)
        # The kernel hashes addresses: 250 each, give or take 14. This is seven times as wide.
        assert all(150 < row.connections < 350 for row in rows), rows
        for stream in streams:
            nursery.start_soon(stream.aclose)


def test_one_address_tells_of_all_and_each_node_has_its_own(nodes: Nodes) -> None:
    status, body = nodes.get("/readyz")
    checks = json.loads(body)["checks"]
    assert (status, list(checks)) == (200, ["nodes", "web-1", "web-2", "web-3", "web-4"])
    assert nodes.metric("greenroom_nodes_up") == 4
    assert json.loads(nodes.get("/")[1])["nodes"] == "web-1, web-2, web-3, web-4"


def test_the_command_shows_every_node(nodes: Nodes) -> None:
    ended = run("cluster", "--set", f"server.data_dir={nodes.folder}")
    assert ended.code == Exit.OK
    title, head, *lines = ended.out.splitlines()
    assert title.endswith(": 4 of 4 nodes up")
    assert head.split()[:4] == ["node", "state", "for", "pid"]
    assert [line.split()[0] for line in lines] == ["web-1", "web-2", "web-3", "web-4"]
    assert {line.split()[4] for line in lines} == {str(row.pid) for row in nodes.rows()}


def test_a_command_without_a_server_is_one_line(tmp_path: Path) -> None:
    for command in ("cluster", "restart"):
        ended = run(command, "--set", f"server.data_dir={tmp_path / 'nowhere'}")
        assert ended.code == Exit.NO_SERVER
        assert one_line(ended.err).startswith("greenroom: no server with several nodes runs on ")


def test_a_port_that_is_taken_on_the_second_start_is_one_line(nodes: Nodes, tmp_path: Path) -> None:
    """With SO_REUSEPORT, two servers of one user could share it."""
    for count in (1, 2):
        ended = run(
            "serve", "--set", f"server.nodes={count}", "--set", f"server.data_dir={tmp_path}",
            "--set", f"listen.port={nodes.port}", "--set", "http.port=0", "--set", "api.port=0",
        )  # fmt: skip
        assert ended.code == Exit.ADDRESS
        assert one_line(ended.err) == (
            f"greenroom: cannot listen on 127.0.0.1:{nodes.port}: Address already in use;"
            " see [listen] host and port"
        )


async def test_a_node_that_is_killed_is_back_and_the_others_did_not_notice(nodes: Nodes) -> None:
    await trio.to_thread.run_sync(nodes.wait_for, lambda rows: not sum(r.connections for r in rows))
    async with crowd(nodes.port, 40) as here:
        rows = await trio.to_thread.run_sync(
            nodes.wait_for, lambda rows: sum(row.connections for row in rows) == 40
        )
        before = rows[1]
        os.kill(before.pid, signal.SIGKILL)
        rows = await trio.to_thread.run_sync(
            nodes.wait_for, lambda rows: rows[1].state == "up" and rows[1].pid != before.pid
        )
        await here.all_are_answered()
        assert here.closed == before.connections
        assert rows[1].last == "killed by SIGKILL"
        assert [row.restarts for row in rows] == [0, before.restarts + 1, 0, 0]
    told = nodes.wait_for_event("node ended", "web-2")
    assert told["again_in_s"]


async def test_a_node_that_stands_still_is_replaced_while_the_others_serve(nodes: Nodes) -> None:
    await trio.to_thread.run_sync(nodes.wait_for, lambda rows: not sum(r.connections for r in rows))
    async with crowd(nodes.port, 40) as here:
        rows = await trio.to_thread.run_sync(
            nodes.wait_for, lambda rows: sum(row.connections for row in rows) == 40
        )
        before = rows[2]
        os.kill(before.pid, signal.SIGSTOP)

        def others_are_answered(number: int) -> bool:
            return sum(guest.pongs > number for guest in here.guests) >= 40 - before.connections

        most = max(guest.pongs for guest in here.guests)
        while not others_are_answered(most + 2):
            await trio.sleep(0.02)
        rows = await trio.to_thread.run_sync(
            nodes.wait_for, lambda rows: rows[2].state == "up" and rows[2].pid != before.pid
        )
        await here.all_are_answered()
        assert here.closed == before.connections
        assert rows[2].last == "killed by SIGKILL: its loop stood still for 5 s"


async def test_a_restart_goes_from_node_to_node_and_leaves_the_others_connections(
    nodes: Nodes,
) -> None:
    await trio.to_thread.run_sync(nodes.wait_for, lambda rows: not sum(r.connections for r in rows))
    async with crowd(nodes.port, 60) as here:
        before = await trio.to_thread.run_sync(
            nodes.wait_for, lambda rows: sum(row.connections for row in rows) == 60
        )
        answers: Iterator[ControlReply] = ask(nodes.folder, RestartAll())
        for number, row in enumerate(before):
            told = await trio.to_thread.run_sync(next, answers)
            assert isinstance(told, Progress)
            assert told.text.startswith(f"{row.name} restarted in "), told
            gone = sum(one.connections for one in before[: number + 1])
            while here.closed < gone:
                await trio.sleep(0.01)
            await here.all_are_answered()
            if number < 3:  # the next one may be draining already
                assert here.closed <= gone + before[number + 1].connections
        assert next(answers, None) is None
        after = nodes.rows()
        assert all(row.state == "up" and row.last == "exit code 0" for row in after)
        assert not {row.pid for row in before} & {row.pid for row in after}


# --- its whole life ------------------------------------------------------------------------------


def test_a_parent_that_is_killed_leaves_no_node_and_no_store(tmp_path: Path) -> None:
    with Nodes(tmp_path, 2) as first:
        family = first.family()
        assert {row.pid for row in first.rows()} < family
        first.kill()
        assert wait_until_gone(family) == set()
    with Nodes(tmp_path, 2, f"listen.port={first.port}") as second:
        assert second.stop() == Exit.OK


def test_a_node_that_keeps_dying_is_tried_again_and_the_last_one_ends_the_server(
    tmp_path: Path,
) -> None:
    """Somebody spoils the configuration of a server that runs."""
    file = tmp_path / "config.toml"
    file.write_text("[listen]\n", "utf-8")
    with Nodes(tmp_path / "data", 2, cwd=tmp_path) as server:
        file.write_text("[listen]\nprot = 1\n", "utf-8")
        answers = list(ask(server.folder, RestartAll()))
        assert len(answers) == 1
        assert isinstance(answers[0], Progress)
        assert answers[0].failed, "nothing was stopped for a process that cannot start"
        assert [row.restarts for row in server.rows()] == [0, 0]

        os.kill(server.row("web-1").pid, signal.SIGKILL)
        rows = server.wait_for(lambda rows: rows[0].restarts >= 3)
        assert rows[0].last.startswith("exit code 3: config.toml: [listen] has no key prot")
        assert rows[1].state == "up"
        status, body = server.get("/readyz")
        assert (status, json.loads(body)["degraded"]) == (200, True)

        file.write_text("[listen]\n", "utf-8")
        server.wait_for(lambda rows: rows[0].state == "up")

        file.write_text("[listen]\nprot = 1\n", "utf-8")
        for row in server.rows():
            os.kill(row.pid, signal.SIGKILL)
        assert server.wait() == Exit.CONFIG
    reasons = [event["why"] for event in server.events() if event["event"] == "draining"]
    assert "cannot be kept running: exit code 3" in reasons[-1]
    assert any("has no key prot" in line for line in server.err)


def test_a_node_that_cannot_start_in_the_beginning_ends_the_server(tmp_path: Path) -> None:
    program = (
        "import os, sys, server\nsys.exit(3 if 'GREENROOM_PARENT' in os.environ else server.main())"
    )
    ended = subprocess.run(
        [
            *[sys.executable, "-c", program, "serve"],
            *flags("server.nodes=2", *alone_in(tmp_path)),
        ],
        cwd=ROOT, env=environment(),
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert ended.returncode == Exit.CONFIG
    assert ended.stdout == ""
    assert "cannot be kept running: exit code 3" in ended.stderr


async def test_a_stop_that_takes_too_long_is_cut_short_and_leaves_nothing(tmp_path: Path) -> None:
    limits = ("wire.close_timeout_s=600", "server.stop_timeout_s=2")
    server = await trio.to_thread.run_sync(lambda: Nodes(tmp_path, 2, *limits))
    with server, trio.fail_after(LIMIT_S):
        family = server.family()
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            await stream.send_all(upgrade())
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 101")
            # It never answers the close.
            assert await trio.to_thread.run_sync(server.stop) == Exit.CUT_SHORT
            assert await trio.to_thread.run_sync(wait_until_gone, family) == set()


async def test_a_first_ctrl_c_drains_all_nodes_a_second_one_hurries_them_and_each_line_is_signed(
    tmp_path: Path,
) -> None:
    patient = ("server.drain_s=600", "server.stop_timeout_s=700")
    server = await trio.to_thread.run_sync(lambda: Nodes(tmp_path, 2, *patient))
    with server:
        async with crowd(server.port, 20) as here:
            server.process.send_signal(signal.SIGINT)
            for name in ("web-1", "web-2"):
                await trio.to_thread.run_sync(server.wait_for_event, "draining", name)
            status, body = await trio.to_thread.run_sync(server.get, "/readyz")
            assert (status, json.loads(body)["checks"]["nodes"]) == (503, "draining")
            await here.all_are_answered()
            assert here.closed < 20, "the closes are spread over 600 s"
            assert await trio.to_thread.run_sync(server.stop, signal.SIGINT) == Exit.OK
    hurried = {event.get("node") for event in server.events() if event["event"] == "hurrying"}
    assert hurried == {None, "web-1", "web-2"}
    assert all(line.startswith("{") for line in server.err)


@pytest.mark.parametrize("after_s", [0.0, 1.0])
def test_a_stop_while_nodes_start_leaves_no_child(after_s: float, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            *[sys.executable, "server.py", "serve"],
            *flags("server.nodes=2", *alone_in(tmp_path)),
        ],
        cwd=ROOT, env=environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with process:
        # Nodes are started right after the socket for commands is there.
        while not (tmp_path / "control.sock").exists() and process.poll() is None:
            time.sleep(0.005)
        time.sleep(after_s)
        family = descendants(process.pid)
        process.terminate()
        assert process.wait(LIMIT_S) == Exit.OK
        assert wait_until_gone(family) == set()


def test_a_log_that_nobody_reads_stops_neither_parent_nor_nodes(tmp_path: Path) -> None:
    read_end, write_end = full_pipe()
    process = subprocess.Popen(
        [
            *[sys.executable, "server.py", "serve"],
            *flags("server.nodes=2", *alone_in(tmp_path)),
            *flags("log.queue_bytes=4096", "log.level=debug"),
        ],
        cwd=ROOT, env=environment(),
        stdout=subprocess.PIPE, stderr=write_end, text=True,
    )  # fmt: skip
    os.close(write_end)
    with process:
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], LIMIT_S)[0]:
            process.kill()
        assert BANNER.match(process.stdout.readline()), "it hangs"
        for _ in range(3):
            (answer,) = ask(tmp_path, Show())
            assert isinstance(answer, Overview)
            assert [node.state for node in answer.nodes] == ["up", "up"]
        process.terminate()
        assert process.wait(LIMIT_S) == Exit.OK
    os.close(read_end)
