"""Load for the cases that measure: many clients in one process, each answer counted."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from protocol.frames import BINARY
from tests.protocol.live import NO_MASK, masked
from tests.server_process import Server

TICK_S = 0.001
AT_ONCE = 32
BURST = 4
"""At a rate, a client sends so many messages at a time."""
BODY = "x" * 100
REF_BYTES = 4
LAST_REF = 2**32 - 1
_encode = msgspec.msgpack.Encoder().encode


class Answer(msgspec.Struct):
    """The fields of a server's message that are read here."""

    op: str
    ref: int | None = None
    code: str = ""
    retry: bool = False
    refs: list[int] = []
    data: msgspec.Raw = msgspec.Raw()
    """The data of an `ok`. It is not decoded, because most of it is never read."""

    def held(self) -> dict[str, Any]:
        """The data of an `ok` that has some."""
        found: dict[str, Any] = msgspec.msgpack.decode(self.data)
        return found


_decode = msgspec.msgpack.Decoder(Answer).decode


class Phase:
    """What was sent during a time, and what was answered. Times are in seconds."""

    def __init__(self) -> None:
        self.sent = 0
        self.latencies: list[float] = []
        self.acknowledged_at: list[float] = []
        self.refused: Counter[str] = Counter()
        self.final: Counter[str] = Counter()
        """Refusals without `retry`, by code."""
        self.began = time.monotonic()
        self.ended = self.began

    def percentile(self, percent: float) -> float:
        """A percentile of the latencies of acknowledged sends, in ms."""
        if not self.latencies:
            return float("nan")
        values = sorted(self.latencies)
        return values[min(len(values) - 1, int(len(values) * percent / 100))] * 1000

    def per_s(self) -> float:
        """Acknowledgements per second while the phase lasted."""
        within = sum(1 for at in self.acknowledged_at if at <= self.ended)
        return within / max(self.ended - self.began, 1e-9)

    def line(self, name: str) -> str:
        """A line of the table of results."""
        refused = ", ".join(f"{count:,} {code}" for code, count in self.refused.most_common())
        return (
            f"{name:26} sent {self.sent:8,}  acked {len(self.latencies):8,}  {self.per_s():8,.0f}/s"
            f"  p50 {self.percentile(50):7.1f}  p99 {self.percentile(99):7.1f}"
            f"  max {self.percentile(100):7.1f} ms  refused: {refused or 'none'}"
        )


class Speaker(WSListener):
    """A client in one room."""

    def __init__(self, name: str, room: str) -> None:
        self.name, self.room = name, room
        self.transport: WSTransport | None = None
        self.waiting: dict[int, tuple[Phase, float]] = {}
        self.asked: dict[int, asyncio.Future[Answer]] = {}
        self.refs = itertools.count(1)
        self.closed = False
        self.pushes = 0
        self.restarts: list[float] = []
        said = {"op": "room.send", "room": room, "body": BODY, "ref": LAST_REF}
        self._said = masked(BINARY, _encode(said), mask=NO_MASK)[:-REF_BYTES]

    async def open(self, url: str) -> None:
        """Connect, open a session, join."""
        await ws_connect(
            lambda: self, url, extra_headers={"Sec-WebSocket-Protocol": "greenroom.v1.msgpack"}
        )
        await self.ask(op="session.open", name=self.name)
        await self.ask(op="room.join", room=self.room)

    def ask(self, **fields: Any) -> asyncio.Future[Answer]:
        """Send a request; the future is its answer."""
        ref = next(self.refs)
        self.asked[ref] = asyncio.get_running_loop().create_future()
        self._send(_encode({**fields, "ref": ref}))
        return self.asked[ref]

    def say(self, phase: Phase, body: str, due: float) -> None:
        """Send a message, and count its result in `phase`, with the latency since it was due."""
        ref = next(self.refs)
        self.waiting[ref] = (phase, due)
        phase.sent += 1
        self._send(_encode({"op": "room.send", "room": self.room, "body": body, "ref": ref}))

    def say_at_once(self, phase: Phase, dues: Sequence[float]) -> None:
        """Send `BODY` several times in one write.

        Only the refs are encoded now, because the load shares the cores with server and stores, and
        must cost little.
        """
        assert self.transport is not None
        if self.closed or not dues:
            return
        frames = []
        for due in dues:
            ref = next(self.refs)
            self.waiting[ref] = (phase, due)
            frames.append(self._said + ref.to_bytes(REF_BYTES))
        phase.sent += len(dues)
        self.transport.underlying_transport.write(b"".join(frames))

    def _send(self, payload: bytes) -> None:
        if self.transport is not None and not self.closed:
            self.transport.send(WSMsgType.BINARY, payload)

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.closed = True
        for future in self.asked.values():
            if not future.done():
                future.set_exception(ConnectionError(f"{self.name} was disconnected"))
                future.exception()

    def on_ws_frame(self, _: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is not WSMsgType.BINARY:
            return
        answer = _decode(frame.get_payload_as_bytes())
        if answer.ref is None:
            self.pushes += 1
            if answer.op == "room.restarted":
                self.restarts.append(time.monotonic())
            return
        for ref in (answer.ref, *answer.refs):
            self._answered(ref, answer)

    def _answered(self, ref: int, answer: Answer) -> None:
        waiting = self.waiting.pop(ref, None)
        if waiting is None:
            future = self.asked.pop(ref, None)
            if future is not None and not future.done():
                future.set_result(answer)
            return
        phase, due = waiting
        if answer.op == "ok":
            now = time.monotonic()
            phase.latencies.append(now - due)
            phase.acknowledged_at.append(now)
        else:
            phase.refused[answer.code] += 1
            if not answer.retry:
                phase.final[answer.code] += 1


async def open_all(url: str, rooms: Sequence[str], *, kind: type[Speaker] = Speaker) -> list[Any]:
    """One client for each of `rooms`."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, room: str) -> Speaker:
        async with gate:
            speaker = kind(f"speaker-{number}", room)
            await speaker.open(url)
            return speaker

    return list(await asyncio.gather(*[one(number, room) for number, room in enumerate(rooms)]))


async def speak(speakers: Sequence[Speaker], rate: float, seconds: float) -> Phase:
    """Have them send `rate` messages a second in turns, without waiting for answers."""
    phase = Phase()
    turns = itertools.cycle(speakers)
    total, number = round(rate * seconds), 0
    while number < total:
        due = min(total, int((time.monotonic() - phase.began) * rate) + 1)
        while due - number >= BURST or number < due == total:
            burst = range(number, min(number + BURST, due))
            next(turns).say_at_once(phase, [phase.began + n / rate for n in burst])
            number = burst.stop
        await asyncio.sleep(TICK_S)
    phase.ended = time.monotonic()
    return phase


async def saturate(speakers: Sequence[Speaker], in_flight: int, seconds: float) -> Phase:
    """Have each keep a fixed number of messages under way. The resulting rate is the capacity."""
    phase = Phase()
    until = phase.began + seconds
    while time.monotonic() < until:
        now = time.monotonic()
        for speaker in speakers:
            speaker.say_at_once(phase, [now] * (in_flight - len(speaker.waiting)))
        await asyncio.sleep(TICK_S)
    phase.ended = time.monotonic()
    return phase


async def quiet(speakers: Sequence[Speaker], within_s: float = 15.0) -> int:
    """Wait until all is answered; returns how many are not."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if not any(speaker.waiting for speaker in speakers):
            return 0
        await asyncio.sleep(0.01)
    return sum(len(speaker.waiting) for speaker in speakers)


@contextlib.contextmanager
def serving(*settings: str, **more: Any) -> Iterator[Server]:
    """A server as shipped, on stores of its own, without limits to what one client may send."""
    folder = Path(tempfile.mkdtemp(prefix="greenroom-case-"))
    folder.chmod(0o755)  # PostgreSQL may have to run as another user, who must get in
    free = ("sessions.messages_per_s=0", "sessions.bytes_per_s=0", "log.format=json")
    try:
        with Server(folder / "data", *free, *settings, **more) as server:
            yield server
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
