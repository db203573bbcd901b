"""A way to the server that can be cut."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class Way:
    """A TCP proxy on localhost. `port` of the server may change while it is there."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = ""
        self.cuts = 0
        self._through: set[trio.CancelScope] = set()

    def cut(self) -> None:
        """Reset every connection. What is under way is lost."""
        self.cuts += len(self._through)
        for scope in list(self._through):
            scope.cancel()

    @property
    def connections(self) -> int:
        return len(self._through)

    async def carry(self, client: trio.SocketStream) -> None:
        try:
            server = await trio.open_tcp_stream("127.0.0.1", self.port)
        except OSError:
            await trio.aclose_forcefully(client)
            return
        scope = trio.CancelScope()
        self._through.add(scope)
        try:
            with scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pump, client, server, scope)
                    nursery.start_soon(self._pump, server, client, scope)
        finally:
            self._through.discard(scope)
            client.socket.close()
            server.socket.close()

    async def _pump(
        self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        try:
            async for data in source:
                await sink.send_all(data)
        except trio.BrokenResourceError:
            pass
        scope.cancel()


@asynccontextmanager
async def way_to(port: int) -> AsyncIterator[Way]:
    """Open a way to the server at `port` for a test."""
    way = Way(port)
    async with trio.open_nursery() as nursery:
        (listener, *_) = await nursery.start(
            lambda task_status: trio.serve_tcp(
                way.carry, 0, host="127.0.0.1", task_status=task_status
            )
        )
        way.url = f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/ws"
        yield way
        nursery.cancel_scope.cancel()
