"""`python -m tests.chaos.slow_readers`: a thousand clients in busy rooms stop reading.

They must cost a bounded amount of memory and be closed with the resumable code 4001, while a
bystander who pings notices nothing. They read again once the server has given them all up. A client
that reads later than `wire.close_timeout_s` after that finds the connection cut (1006) instead of
its code. The kernel's buffers for each are kept small, so that the server has to hold messages,
too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import time
from collections import Counter
from urllib.parse import urlsplit

import msgspec

from protocol.frames import BINARY
from tests.chaos.load import Phase, Speaker, open_all, serving
from tests.chaos.vitals import rss_mib
from tests.protocol.live import NO_MASK, masked
from tests.server_process import Server

RECEIVE_BYTES = 16_384
BODY = "x" * 30_000
EVERY_S = 0.2
"""The time between two messages in a room."""
OUTBOX_BYTES = 262_144
IN_A_ROOM = 50
SLOW_CONSUMER = 4001
MORE_MS = 20.0
LIMIT_S = 60.0
_encode = msgspec.msgpack.Encoder().encode


class Reader:
    """A raw connection that joins a room and then does not read."""

    def __init__(self, name: str, room: str) -> None:
        self.name, self.room = name, room
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        self.socket.setblocking(False)

    async def open(self, url: str) -> None:
        """Connect and join."""
        loop, where = asyncio.get_running_loop(), urlsplit(url)
        await loop.sock_connect(self.socket, (where.hostname, where.port))
        head = (
            f"GET {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: greenroom.v1.msgpack\r\n\r\n"
        )
        await loop.sock_sendall(self.socket, head.encode())
        await loop.sock_recv(self.socket, 4096)
        for fields in (
            {"op": "session.open", "ref": 1, "name": self.name},
            {"op": "room.join", "ref": 2, "room": self.room},
        ):
            await loop.sock_sendall(self.socket, masked(BINARY, _encode(fields), mask=NO_MASK))
            await loop.sock_recv(self.socket, 4096)

    async def reason(self) -> int:
        """Read to the end; return the code of the close frame, or 1006 without one."""
        loop, last = asyncio.get_running_loop(), b""
        with contextlib.suppress(OSError):
            while chunk := await loop.sock_recv(self.socket, 65_536):
                last = (last + chunk)[-130:]
        self.socket.close()
        at = last.rfind(b"\x88")  # no message of this load contains this byte
        return int.from_bytes(last[at + 2 : at + 4], "big") if at >= 0 else 1006


async def _ping(bystander: Speaker, phase: Phase) -> None:
    """Twenty pings a second, until cancelled."""
    while True:
        began = time.monotonic()
        phase.sent += 1
        await bystander.ask(op="ping")
        phase.latencies.append(time.monotonic() - began)
        await asyncio.sleep(0.05)


async def play(server: Server, count: int) -> bool:
    """Measure; returns whether every bound held."""
    rooms = [f"room-{number}" for number in range(count // IN_A_ROOM)]
    speakers: list[Speaker] = await open_all(server.ws, rooms)
    (bystander,) = await open_all(server.ws, ["elsewhere"])
    calm, busy = Phase(), Phase()
    talking = asyncio.create_task(_talk(speakers))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(_ping(bystander, calm), 5)
    readers = [Reader(f"slow-{n}", rooms[n % len(rooms)]) for n in range(count)]
    for start in range(0, count, 20):
        await asyncio.gather(*[reader.open(server.ws) for reader in readers[start : start + 20]])
    before = most = rss_mib(server.process.pid)
    pinging = asyncio.create_task(_ping(bystander, busy))
    bound = count * OUTBOX_BYTES / 2**20
    began, held_mib = time.monotonic(), 0.0
    while time.monotonic() - began < LIMIT_S:
        await asyncio.sleep(0.2)
        most = max(most, rss_mib(server.process.pid))
        now_mib = await _outboxes_mib(server)
        held_mib = max(held_mib, now_mib)
        # The server keeps nothing for clients that it has given up.
        if held_mib > bound / 5 and now_mib < held_mib / 50:
            break
    took = time.monotonic() - began
    closing = [asyncio.create_task(reader.reason()) for reader in readers]
    await asyncio.wait(closing, timeout=LIMIT_S)
    codes = Counter(task.result() if task.done() else 0 for task in closing)
    await asyncio.sleep(1.0)
    closed = Counter(
        line["close"] for line in server.events() if line["event"] == "connection ended"
    )
    pinging.cancel()
    talking.cancel()
    more = busy.percentile(99) - calm.percentile(99)
    print(calm.line("bystander, before"))
    print(busy.line("bystander, meanwhile"))
    print(f"memory {before:.0f} MiB before, {most:.0f} MiB at most; outboxes {held_mib:.0f} MiB, "
          f"{took:.1f} s until all were given up")  # fmt: skip
    held = {
        f"{most - before:+.0f} MiB, outboxes hold {bound:.0f} at most": most - before <= bound + 64,
        f"closed, by the server's log: {dict(closed)}": closed["slow_consumer"] == count,
        f"codes that clients still found: {dict(codes)}": set(codes) <= {SLOW_CONSUMER, 1006},
        f"p99 of the bystander {more:+.1f} ms": more <= MORE_MS,
        "the bystander stayed": not bystander.closed,
    }
    for what, holds in held.items():
        print(f"{'held ' if holds else 'BROKEN'}  {what}")
    return all(held.values())


async def _talk(speakers: list[Speaker]) -> None:
    """A long message in each room now and then, until cancelled."""
    while True:
        for speaker in speakers:
            speaker.say(Phase(), BODY, time.monotonic())
            await asyncio.sleep(EVERY_S / len(speakers))


async def _outboxes_mib(server: Server) -> float:
    return await asyncio.to_thread(server.metric, "greenroom_outbox_bytes") / 2**20


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.slow_readers", description=__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    given = parser.parse_args()
    settings = (
        f"wire.outbox_bytes={OUTBOX_BYTES}",
        "log.level=debug",  # logs for each connection why it ended
        "rooms.body_bytes=32768",
        "rooms.answer_bytes=16384",
    )
    with serving(*settings) as server:
        return 0 if asyncio.run(play(server, given.clients)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
