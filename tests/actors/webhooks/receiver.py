"""A receiver of webhooks on this machine, which takes, fails, hangs or redirects."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import trio

TAKE = b"HTTP/1.1 204 No Content\r\n\r\n"
FAIL = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"
GONE = b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n"
HUGE = b"HTTP/1.1 200 OK\r\n" + b"x-filler: " + b"x" * 100_000
NOISE = b"\x00\x01\x02 this is no HTTP\r\n\r\n"
CLOSE = b""
HANG = b"hang"


class Received(NamedTuple):
    """A request: its path, its headers in small letters, and its body."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """Answers each request with the next of `script`, and with its last one after that."""

    def __init__(self, port: int, script: Sequence[bytes]) -> None:
        self.port = port
        self.script = list(script)
        self.received: list[Received] = []
        self.connections = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?x=1"

    def redirect(self) -> bytes:
        """An answer that leads to another path of this receiver."""
        place = f"http://127.0.0.1:{self.port}/elsewhere"
        return f"HTTP/1.1 307 Temporary Redirect\r\nlocation: {place}\r\n\r\n".encode()

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        got = b""
        try:
            while b"\r\n\r\n" not in got:
                data = await stream.receive_some(65_536)
                if not data:
                    return
                got += data
            head, _, body = got.partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
            }
            while len(body) < int(headers["content-length"]):
                body += await stream.receive_some(65_536)
            self.received.append(Received(first.split()[1], headers, body))
            answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            if answer == HANG:
                await trio.sleep_forever()
            await stream.send_all(answer)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def receiving(*script: bytes) -> AsyncIterator[Receiver]:
    """Run a receiver."""
    async with trio.open_nursery() as nursery:
        receiver = Receiver(0, script or (TAKE,))
        (listener,) = await nursery.start(
            partial(trio.serve_tcp, receiver.serve, 0, host="127.0.0.1")
        )
        receiver.port = listener.socket.getsockname()[1]
        yield receiver
        nursery.cancel_scope.cancel()
