"""Drain and stop, and the accept loop."""

from __future__ import annotations

import contextlib
import errno
import socket
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
import trio
import trio.testing

from protocol import frames
from protocol.errors import DRAIN
from protocol.server.flusher import Flusher
from protocol.server.listener import accept_from, listen
from tests.protocol.live import Raw, live, upgrade


async def test_a_drain_closes_every_connection_spread_over_time() -> None:
    async with live() as server:
        async with trio.open_nursery() as nursery:
            codes: list[int] = []

            async def stay(*, task_status: trio.TaskStatus[None]) -> None:
                async with server.client() as client:
                    await client.pong()
                    task_status.started()
                    codes.append((await client.closed())[0])

            for _ in range(10):
                await nursery.start(stay)
            began = trio.current_time()
            await server.gateway.drain(0.5)
            assert trio.current_time() - began >= 0.45  # the last of ten leaves at nine tenths
            assert server.gateway.statistics().sockets == 0
        assert codes == [DRAIN.code] * 10
        with pytest.raises(OSError, match=r"refused|failed"):
            await server.socket()


async def test_a_client_in_its_handshake_is_refused_by_a_drain() -> None:
    async with live() as server, await server.socket() as stream:
        while not server.gateway.statistics().sockets:
            await trio.sleep(0.001)
        server.nursery.start_soon(server.gateway.drain, 0.0)
        await trio.testing.wait_all_tasks_blocked()
        await stream.send_all(upgrade())
        assert (await Raw(stream).head()).startswith(b"HTTP/1.1 503 ")


async def test_a_client_that_was_not_accepted_yet_is_refused_by_a_drain() -> None:
    async with live() as server:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(upgrade())  # the kernel has it; the server's loop has not run since
            await server.gateway.drain(0.0)
            assert client.recv(4096).startswith(b"HTTP/1.1 503 ")


async def test_a_cancelled_server_says_that_it_drains() -> None:
    async with live() as server, server.client() as client:
        handler = await server.handler()
        server.nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            assert await client.frame() == (frames.CLOSE, DRAIN.code.to_bytes(2, "big") + b"drain")
            assert await client.rest() == b""
        await handler.gone.wait()
        assert handler.ended == [(DRAIN, "")]


class Exhausted:
    """A listener whose process has no free file descriptors for a while."""

    def __init__(self, inner: socket.socket, errors: list[int]) -> None:
        self.inner = inner
        self.errors = errors

    def accept(self) -> Any:
        if self.errors:
            raise OSError(self.errors.pop(), "no")
        return self.inner.accept()

    def fileno(self) -> int:
        return self.inner.fileno()


async def test_running_out_of_file_descriptors_is_waited_out(
    nursery: trio.Nursery,
) -> None:
    listener = listen("127.0.0.1", 0)[0]
    taken: list[socket.socket] = []
    exhausted: Any = Exhausted(
        listener, [errno.EMFILE, errno.ENFILE, errno.ECONNABORTED, errno.ENOBUFS]
    )
    with trio.fail_after(60), structlog.testing.capture_logs() as logs:
        nursery.start_soon(accept_from, exhausted, lambda sock, _: taken.append(sock))
        async with await trio.open_tcp_stream(*listener.getsockname()):
            while not taken:
                await trio.sleep(0.01)
    assert [entry["event"] for entry in logs] == ["cannot accept"] * 3
    nursery.cancel_scope.cancel()
    taken[0].close()
    listener.close()


async def test_an_idle_flusher_sleeps(nursery: trio.Nursery) -> None:
    flusher = Flusher()
    await nursery.start(flusher.run)
    await trio.testing.wait_all_tasks_blocked()
    assert flusher.statistics().sends == 0
    nursery.cancel_scope.cancel()


class Narrow:
    """A door that lets in one connection of each address at a time, and counts the attempts."""

    def __init__(self, again_s: float = 7.0) -> None:
        self.inside: set[str] = set()
        self.came: list[str] = []
        self.again_s = again_s

    def enter(self, address: str) -> float | None:
        self.came.append(address)
        if address in self.inside:
            return self.again_s
        self.inside.add(address)
        return None

    def leave(self, address: str) -> None:
        self.inside.remove(address)


async def test_an_address_that_has_its_connections_is_told_when_to_come_again() -> None:
    door = Narrow()
    async with live(door=door, trusted_proxies=()) as server:
        async with server.client() as client:
            answer = await server.http(upgrade())
            assert answer.startswith(b"HTTP/1.1 429 ")
            assert b"\r\nRetry-After: 7\r\n" in answer
            await client.pong()
            assert (await server.handler()).connection.address == "127.0.0.1"
        await (await server.handler()).gone.wait()
        while door.inside:
            await trio.sleep(0.001)
        async with server.client() as client:
            await client.pong()


async def test_who_is_not_even_to_be_answered_is_cut_off() -> None:
    async with live(door=Narrow(again_s=0.0), trusted_proxies=()) as server, server.client():
        with contextlib.suppress(trio.BrokenResourceError):
            assert await server.http(upgrade()) == b""
        assert server.gateway.statistics().dropped == 1


async def test_a_handshake_that_comes_to_nothing_leaves_the_door() -> None:
    door = Narrow()
    async with live(door=door, trusted_proxies=()) as server:
        for request in (upgrade(path="/elsewhere"), b"nonsense\r\n\r\n"):
            assert (await server.http(request)).startswith(b"HTTP/1.1 4")
            while door.inside:
                await trio.sleep(0.001)
        assert door.came == ["127.0.0.1"] * 2


async def test_behind_a_proxy_the_client_it_names_is_the_one_who_comes() -> None:
    door = Narrow()
    async with live(door=door) as server, server.client():
        assert door.came == []  # the proxy itself, or somebody on this machine
        one, other = (upgrade(X_Forwarded_For=f"6.6.6.6, 192.0.2.{number}") for number in (1, 2))
        async with await server.socket() as first, await server.socket() as second:
            for stream, request in ((first, one), (second, other)):
                await stream.send_all(request)
                assert (await Raw(stream).head()).startswith(b"HTTP/1.1 101 ")
            assert (await server.http(one)).startswith(b"HTTP/1.1 429 ")
        assert door.came == ["192.0.2.1", "192.0.2.2", "192.0.2.1"]
        while door.inside:
            await trio.sleep(0.001)


async def test_whoever_is_no_proxy_cannot_name_another() -> None:
    door = Narrow()
    async with live(door=door, trusted_proxies=("10.0.0.0/8",)) as server:
        await server.http(upgrade(path="/", X_Forwarded_For="192.0.2.1"))
        assert door.came == ["127.0.0.1"]


async def test_clients_over_a_unix_socket_are_served(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.setblocking(False)
    listener.bind(str(tmp_path / "socket"))
    listener.listen()
    door = Narrow()
    async with (
        live(door=door, also=[listener]),
        await trio.open_unix_socket(str(tmp_path / "socket")) as stream,
    ):
        await stream.send_all(upgrade(X_Forwarded_For="192.0.2.1"))
        client = Raw(stream)
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")
        await client.pong()
        assert door.came == ["192.0.2.1"]
