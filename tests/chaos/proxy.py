"""A TCP proxy on loopback that delays, cuts and freezes what passes through it."""

from __future__ import annotations

import contextlib
import random
import socket
import struct

import trio

Target = tuple[str, int] | str
"""Host and port, or the path of a unix socket."""


class Proxy:
    """Listens on a free port and passes bytes to `target`; its attributes may change at any time.

    Attributes:
        delay_s: how long each chunk is held back, on average, each way.
        frozen: while true nothing passes, and nobody is told: a half-open network.
        cut: while true new connections are closed at once.
    """

    def __init__(self, target: Target, rng: random.Random) -> None:
        self.target = target
        self.delay_s = 0.0
        self.frozen = False
        self.cut = False
        self.port = 0
        self._rng = rng
        self._pairs: set[tuple[trio.SocketStream, trio.SocketStream]] = set()

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        task_status.started(self.port)
        await trio.serve_listeners(self._pass, [listener])

    def reset(self, share: float) -> int:
        """Break this share of the connections with a TCP reset; returns how many."""
        chosen = [pair for pair in self._pairs if self._rng.random() < share]
        for pair in chosen:
            for stream in pair:
                with contextlib.suppress(OSError):
                    # Linger of 0 s: close sends RST in place of FIN, and drops what is queued.
                    stream.socket.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )
                stream.socket.close()
        return len(chosen)

    async def _pass(self, client: trio.SocketStream) -> None:
        try:
            server = await self._reach()
        except OSError:
            await trio.aclose_forcefully(client)
            return
        pair = (client, server)
        self._pairs.add(pair)
        try:
            async with client, server, trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, client, server, nursery.cancel_scope)
                nursery.start_soon(self._pump, server, client, nursery.cancel_scope)
        finally:
            self._pairs.discard(pair)

    async def _reach(self) -> trio.SocketStream:
        if self.cut:
            raise ConnectionRefusedError
        if isinstance(self.target, str):
            return await trio.open_unix_socket(self.target)
        return await trio.open_tcp_stream(*self.target)

    async def _pump(
        self, source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope
    ) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for chunk in source:
                if self.delay_s:
                    await trio.sleep(self._rng.uniform(0, 2 * self.delay_s))
                while self.frozen:
                    await trio.sleep(0.05)
                await sink.send_all(chunk)
        both.cancel()
