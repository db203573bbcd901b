"""Clients that send what no client should."""

from __future__ import annotations

import contextlib
import itertools
import random
import re
import socket
import struct
from collections.abc import Callable
from typing import Final

import trio

from tests.protocol.fuzz import frames, handshakes, messages
from tests.protocol.fuzz.judge import Judge
from tests.protocol.fuzz.messages import World
from tests.protocol.fuzz.tally import Tally

PATIENCE_S: Final = 20.0
"""How long to wait for the server: far longer than it is configured to take."""

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_SYNC = b"sync"
_BREAKS = 0.03  # of all frames break the protocol, and with it the connection


class Line:
    """One TCP connection to the server."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream

    @classmethod
    async def open(cls, port: int) -> Line:
        """Connect. Raises OSError."""
        return cls(await trio.open_tcp_stream("127.0.0.1", port))

    async def send(self, dice: random.Random, data: bytes) -> None:
        """Send bytes, now and then in pieces."""
        if dice.random() < 0.1:
            while len(data) > 1:
                size = dice.randrange(1, min(len(data), 4000) + 1)
                await self.stream.send_all(data[:size])
                data = data[size:]
        await self.stream.send_all(data)

    async def receive(self) -> bytes:
        """Return the bytes that came; b"": the connection has ended in any way.

        Raises trio.TooSlowError.
        """
        with trio.fail_after(PATIENCE_S):
            try:
                return await self.stream.receive_some(65_536)
            except trio.BrokenResourceError:
                return b""

    async def end(self, *, reset: bool) -> None:
        """Close the connection, if asked by a reset."""
        if reset:
            with contextlib.suppress(OSError):
                self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.aclose_forcefully(self.stream)


class Attacker:
    """Makes connection after connection, and does on each what the dice say.

    Args:
        port: of the server, on loopback.
        dice: where everything it does comes from.
        tally, world: shared by all attackers of a run.
    """

    def __init__(self, port: int, dice: random.Random, tally: Tally, world: World) -> None:
        self._port = port
        self._dice = dice
        self._tally = tally
        self._world = world
        self._line: Line
        self._judge: Judge
        self._json = False

    async def send_frames(self, wanted: Callable[[], bool]) -> None:
        """Attack with frames until enough were sent."""
        await self._attack(wanted, self._session)

    async def send_handshakes(self, wanted: Callable[[], bool]) -> None:
        """Attack with handshakes until enough were sent."""
        await self._attack(wanted, self._handshake)

    async def _attack(self, wanted: Callable[[], bool], one: Callable[..., object]) -> None:
        while wanted():
            try:
                self._line = await Line.open(self._port)
            except OSError as error:
                self._tally.violation(f"cannot connect: {error}")
                return
            try:
                await one(wanted)  # type: ignore[misc]  # one of the two below
            except trio.TooSlowError:
                self._tally.violation(f"nothing came of {one.__name__} in {PATIENCE_S:g} s")
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # it closed on us while we were sending
            finally:
                await self._line.end(reset=self._dice.random() < 0.3)

    # --- handshakes ------------------------------------------------------------------------------

    async def _handshake(self, _wanted: Callable[[], bool]) -> None:
        dice, line = self._dice, self._line
        request = handshakes.mutated(dice)
        got, status = b"", "end"
        try:
            await line.send(dice, request)
            # Mostly the end is told: whoever waits for more of a request must be cut off in time.
            if dice.random() < 0.9:
                await line.stream.send_eof()
            while b"\r\n\r\n" not in got and (data := await line.receive()):
                got += data
        finally:
            found = _STATUS.match(got)
            if found is not None:
                status = found[1].decode()
                if status not in handshakes.STATUSES:
                    self._tally.violation(f"{request[:300]!r} was answered {got[:200]!r}")
            elif got:
                self._tally.violation(f"{request[:300]!r} was answered {got[:200]!r}")
            self._tally.handshakes[status] += 1

    # --- sessions --------------------------------------------------------------------------------

    async def _session(self, wanted: Callable[[], bool]) -> None:
        dice, line = self._dice, self._line
        subprotocol = dice.choice(handshakes.SUBPROTOCOLS)
        self._json = subprotocol.endswith("json")
        self._judge = Judge(self._tally, json_text=self._json)
        self._tally.connections += 1
        await line.send(dice, handshakes.right(dice, subprotocol))
        got = b""
        while b"\r\n\r\n" not in got:
            data = await line.receive()
            if not data:
                self._tally.violation(f"a right handshake came to {got!r}")
                return
            got += data
        head, _, rest = got.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            self._tally.violation(f"a right handshake was answered {head!r}")
            return
        self._take(rest)
        what = dice.random()
        if what < 0.95:
            await self._open_and_mutate(wanted)
        elif what < 0.98:
            await self._mutate(wanted)  # without a session
        elif what < 0.985:
            await self._flood(lambda: frames.frame(dice, frames.PING, dice.randbytes(8)), "ping")
        elif what < 0.987:
            opcodes = itertools.chain([frames.BINARY], itertools.repeat(frames.CONT))
            await self._flood(lambda: frames.frame(dice, next(opcodes), b"", fin=False), "fragment")
        elif what < 0.99:
            await self._flood(lambda: self._frame(messages.valid(dice, self._world)), "request")
        else:
            await self._never_read()

    async def _open_and_mutate(self, wanted: Callable[[], bool]) -> None:
        self._tally.valid += 1
        await self._line.send(self._dice, self._frame(messages.opening(self._dice, self._world)))
        await self._mutate(wanted)

    async def _mutate(self, wanted: Callable[[], bool]) -> None:
        dice, line = self._dice, self._line
        for _ in range(dice.randrange(1, 12)):
            batch, sent, broken = self._batch(dice.randrange(1, 60))
            await line.send(dice, batch)
            if broken:
                await self._leave(polite=False)
                return
            if not await self._synchronized():
                return
            self._tally.taken += sent
            if not wanted():
                break
        await self._leave(polite=True)

    def _batch(self, size: int) -> tuple[bytes, int, bool]:
        """Return frames, their number, and whether the last of them breaks the protocol."""
        batch, before = bytearray(), self._tally.mutated + self._tally.valid
        broken = False
        for _ in range(size):
            data, broken = self._one()
            batch += data
            if broken:
                break
        return bytes(batch), self._tally.mutated + self._tally.valid - before, broken

    def _one(self) -> tuple[bytes, bool]:
        """Return the next frame or fragments, and whether they break the protocol."""
        dice, tally = self._dice, self._tally
        opcode = frames.TEXT if self._json else frames.BINARY
        request = messages.valid(dice, self._world)
        what = dice.random()
        if what < 0.10:
            tally.valid += 1
            return self._frame(request), False
        name = "fields"
        if what < 0.75:
            payload = self._encoded(messages.spoil(dice, request))
        else:
            name = "bytes"
            payload = messages.garble(dice, self._encoded(request), json_text=self._json)
        if self._json:
            try:
                payload.decode()
            except UnicodeDecodeError:
                if dice.random() < _BREAKS:
                    tally.frames["not utf-8"] += 1
                    return frames.frame(dice, opcode, payload), True
                payload = payload.decode(errors="replace").encode()
        if dice.random() < _BREAKS:
            self._judge.may_echo = True
            name, data = frames.breach(dice, opcode, payload)
            tally.frames[name] += 1
            return data, True
        if dice.random() < 0.06:
            parts = frames.fragments(dice, opcode, payload)
            tally.frames[f"{name}, in fragments"] += len(parts)
            return b"".join(parts), False
        tally.frames[name] += 1
        return frames.frame(dice, opcode, payload), False

    def _encoded(self, request: object) -> bytes:
        return messages.encode(request, json_text=self._json)

    def _frame(self, request: object) -> bytes:
        opcode = frames.TEXT if self._json else frames.BINARY
        return frames.frame(self._dice, opcode, self._encoded(request))

    # --- floods ----------------------------------------------------------------------------------

    async def _flood(self, make: Callable[[], bytes], name: str) -> None:
        """Send as much as the line takes, while reading.

        The server may close, but must not hang.
        """
        count = self._dice.randrange(500, 3000)
        self._tally.floods[f"{name}s"] += count
        data = b"".join(make() for _ in range(count))
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._line.stream.send_all(data)
                    await self._line.stream.send_eof()

            nursery.start_soon(send)
            try:
                await self._until_the_end()
            except trio.TooSlowError:
                self._tally.violation(f"a flood of {name}s came to no end in {PATIENCE_S:g} s")
            nursery.cancel_scope.cancel()

    async def _never_read(self) -> None:
        """Ask for much and read nothing. The server closes such a client, which does not see it."""
        count = self._dice.randrange(100, 1000)
        self._tally.floods["requests, answers unread"] += count
        opening = self._frame({"op": "session.open", "ref": 0, "name": "deaf"})
        asked = (messages.valid(self._dice, self._world) for _ in range(count))
        data = opening + b"".join(self._frame(request) for request in asked)
        with trio.move_on_after(2.0):
            await self._line.stream.send_all(data)

    # --- reading ---------------------------------------------------------------------------------

    async def _synchronized(self) -> bool:
        """Send a ping and read until its pong; returns False if the server closed instead."""
        mark = _SYNC + self._dice.randbytes(4)
        with contextlib.suppress(trio.BrokenResourceError):
            await self._line.stream.send_all(frames.frame(self._dice, frames.PING, mark))
        while self._judge.closed is None:
            data = await self._line.receive()
            if not data:
                return False
            if mark in self._take(data):
                return True
        await self._until_the_end()
        return False

    async def _leave(self, *, polite: bool) -> None:
        """End the connection in one of several ways, and check that the server ends it, too."""
        way = self._dice.random()
        if way < 0.2:
            return  # a close or a reset, without a word
        with contextlib.suppress(trio.BrokenResourceError):
            if polite and way < 0.6:
                self._judge.may_echo = True
                code = self._dice.choice((1000, 1001, 3000, 4999))
                payload = code.to_bytes(2, "big") + b"bye"
                await self._line.stream.send_all(frames.frame(self._dice, frames.CLOSE, payload))
            else:
                await self._line.stream.send_eof()
        await self._until_the_end()

    async def _until_the_end(self) -> None:
        while data := await self._line.receive():
            self._take(data)
            if self._judge.closed is not None:  # it waits for us to end now
                with contextlib.suppress(trio.BrokenResourceError, trio.BusyResourceError):
                    await self._line.stream.send_eof()

    def _take(self, data: bytes) -> list[object]:
        events = self._judge.feed(data)
        for event in events:
            if isinstance(event, dict):
                self._world.learn(event)
        return list(events)
