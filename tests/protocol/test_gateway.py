"""Drain and stop, and the accept loop."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest
import structlog.testing
import trio
import trio.testing

from protocol import frames
from protocol.errors import DRAIN
from protocol.flusher import Flusher
from protocol.listener import accept_from, listen
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
    """A listener whose process is out of file descriptors for a while."""

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
