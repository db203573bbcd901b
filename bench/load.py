"""The load generator of `bench.rooms`, a process of its own: picows on uvloop.

Open loop: messages go out at the times a fixed schedule gives, whether or not earlier ones have
arrived, and a latency counts from the scheduled time. A server that falls behind therefore shows
it, instead of slowing its own measurement down (coordinated omission).

Speaks with its parent in lines of JSON: takes a `Load` first, says `{"ready": true}` when every
member has joined, starts at the monotonic time it is then given, says `{"delivered": n}` now and
then, ends with a `Result`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections import Counter

import msgspec
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

MARK = b"@t="
DIGITS = 20
HANDSHAKES_AT_ONCE = 32
REPORT_S = 1.0
LATE_S = 5.0  # how long after the last message stragglers are awaited


class Load(msgspec.Struct, frozen=True):
    """What to do: rooms by name, each of `members`, `messages_s` messages a second in all."""

    url: str
    greenroom: bool
    """Speak Greenroom's protocol; false: the room is the path, and bodies go as they are."""
    rooms: list[str]
    members: int
    messages_s: float
    body_bytes: int
    warmup_s: float
    measured_s: float


class Result(msgspec.Struct):
    """What came of it; only messages scheduled after the warm-up count."""

    sent: int = 0
    delivered: int = 0
    in_window: int = 0
    """Deliveries of any message while the clock stood between the warm-up and the end."""
    latencies_us: dict[int, int] = {}
    acks_us: dict[int, int] = {}
    """Of `room.send` until its `ok`, which says durable. Empty for a peer without acks."""
    errors: dict[str, int] = {}
    cpu_s: float = 0.0


class Member(WSListener):
    """One connection in one room."""

    def __init__(self, room: str, name: str, run: Run) -> None:
        self.room = room
        self.name = name
        self.run = run
        self.joined = asyncio.get_running_loop().create_future()
        self.pending: dict[int, int] = {}  # ref -> scheduled time in ns
        self.ref = 2

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        if self.run.load.greenroom:
            self._request({"op": "session.open", "ref": 1, "name": self.name})
        else:
            self.joined.set_result(None)

    def on_ws_frame(self, _: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        mark = payload.find(MARK)
        if mark >= 0:
            at = mark + len(MARK)
            self.run.delivered(int(payload[at : at + DIGITS]))
        elif self.run.load.greenroom and frame.msg_type == WSMsgType.BINARY:
            self._reply(msgspec.msgpack.decode(payload))

    def on_ws_disconnected(self, _: WSTransport) -> None:
        if not self.joined.done():
            self.joined.set_exception(ConnectionError(f"{self.name} was disconnected"))
        elif not self.run.over:
            self.run.errors["disconnected"] += 1

    def _request(self, request: dict[str, object]) -> None:
        self.transport.send(WSMsgType.BINARY, msgspec.msgpack.encode(request))

    def _reply(self, reply: dict[str, object]) -> None:
        op, ref = reply["op"], reply.get("ref")
        if op == "error":
            self.run.errors[str(reply["code"])] += 1
            if not self.joined.done():
                self.joined.set_exception(ConnectionError(f"{reply['code']}: {reply['message']}"))
        elif op == "ok" and ref == 1:
            self._request({"op": "room.join", "ref": 2, "room": self.room})
        elif op == "ok" and ref == 2 and not self.joined.done():
            self.joined.set_result(None)
        elif op == "ok" and isinstance(ref, int) and ref in self.pending:
            self.run.acknowledged(self.pending.pop(ref))

    def say(self, scheduled_ns: int) -> None:
        """Send one message to the room, marked with its scheduled time."""
        text = f"{MARK.decode()}{scheduled_ns:0{DIGITS}d}".ljust(self.run.load.body_bytes, ".")
        if self.run.load.greenroom:
            self.ref += 1
            self.pending[self.ref] = scheduled_ns
            self._request({"op": "room.send", "ref": self.ref, "room": self.room, "body": text})
        else:
            self.transport.send(WSMsgType.BINARY, text.encode())


class Run:
    """One run: joins, sends on schedule, collects."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.result = Result()
        self.latencies: Counter[int] = Counter()
        self.acks: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.measure_from_ns = self.measure_to_ns = sys.maxsize
        self.over = False

    def delivered(self, scheduled_ns: int) -> None:
        now = time.monotonic_ns()
        if self.measure_from_ns <= now < self.measure_to_ns:
            self.result.in_window += 1
        if scheduled_ns >= self.measure_from_ns:
            self.latencies[(now - scheduled_ns) // 1000] += 1
            self.result.delivered += 1

    def acknowledged(self, scheduled_ns: int) -> None:
        if scheduled_ns >= self.measure_from_ns:
            self.acks[(time.monotonic_ns() - scheduled_ns) // 1000] += 1

    async def join_all(self) -> list[Member]:
        gate = asyncio.Semaphore(HANDSHAKES_AT_ONCE)

        async def join(member: Member) -> Member:
            headers = {"Sec-WebSocket-Protocol": "greenroom.v1.msgpack"}
            url = self.load.url if self.load.greenroom else f"{self.load.url}/{member.room}"
            async with gate:
                await ws_connect(
                    lambda: member, url, extra_headers=headers if self.load.greenroom else None
                )
                await asyncio.wait_for(member.joined, timeout=30)
            return member

        # Member by member over the rooms, so that neighbours in the list speak in different rooms.
        return await asyncio.gather(
            *(
                join(Member(room, f"{room}-{number}", self))
                for number in range(self.load.members)
                for room in self.load.rooms
            )
        )

    async def send_all(self, members: list[Member], start_ns: int) -> None:
        """Send on the schedule that begins at `start_ns`, members taking turns."""
        interval_ns = 1e9 / self.load.messages_s
        total = round((self.load.warmup_s + self.load.measured_s) * self.load.messages_s)
        self.measure_from_ns = start_ns + round(self.load.warmup_s * 1e9)
        self.measure_to_ns = self.measure_from_ns + round(self.load.measured_s * 1e9)
        wake = asyncio.Event()
        receiver, sender = os.pipe()
        os.set_blocking(receiver, False)

        def woken() -> None:
            os.read(receiver, 65_536)
            wake.set()

        def metronome() -> None:
            # uvloop's timers have a grain of 1 ms, which would be most of what is measured here.
            # A thread's sleep has one of about 60 us.
            for number in range(total):
                delay = (start_ns + number * interval_ns - time.monotonic_ns()) / 1e9
                if delay > 0:
                    time.sleep(delay)
                    os.write(sender, b"\0")
            os.write(sender, b"\0")

        loop = asyncio.get_running_loop()
        loop.add_reader(receiver, woken)
        thread = threading.Thread(target=metronome, daemon=True)
        thread.start()
        number = 0
        while number < total:
            await wake.wait()
            wake.clear()
            due = min(total, int((time.monotonic_ns() - start_ns) / interval_ns) + 1)
            while number < due:
                scheduled_ns = start_ns + round(number * interval_ns)
                members[number % len(members)].say(scheduled_ns)
                self.result.sent += scheduled_ns >= self.measure_from_ns
                number += 1
        thread.join()
        loop.remove_reader(receiver)
        os.close(receiver)
        os.close(sender)

    async def report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            say({"delivered": self.result.delivered})

    async def run(self) -> Result:
        """Do all of it, once."""
        members = await self.join_all()
        say({"ready": True})
        start_ns = int((await asyncio.to_thread(sys.stdin.readline)).strip())
        used = time.process_time()
        reporting = asyncio.create_task(self.report())
        await self.send_all(members, start_ns)
        give_up = time.monotonic() + LATE_S
        while (
            self.result.delivered < self.result.sent * self.load.members
            or any(member.pending for member in members)
        ) and time.monotonic() < give_up:
            await asyncio.sleep(0.02)
        reporting.cancel()
        self.over = True
        for member in members:
            member.transport.disconnect()
        self.result.cpu_s = time.process_time() - used
        self.result.latencies_us = dict(self.latencies)
        self.result.acks_us = dict(self.acks)
        self.result.errors = dict(self.errors)
        return self.result


def say(line: object) -> None:
    """Write one line of JSON for the parent."""
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    say(uvloop.run(Run(msgspec.json.decode(sys.stdin.readline(), type=Load)).run()))
