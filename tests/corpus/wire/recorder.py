"""The recording of a scene: the Python client over a link in memory, and clients without one."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal
from unittest.mock import patch
from urllib.parse import urlsplit

import msgspec
import trio
import trio.testing

from protocol.client import connect
from protocol.messages import AnyServerMessage
from protocol.remote.backoff import ReconnectBackoff
from protocol.remote.errors import CannotConnect, close_row
from protocol.remote.link import Endpoint, LinkClosed
from protocol.remote.session import Session
from protocol.remote.settings import ClientSettings
from tests.actors.players import House
from tests.corpus.wire.stage import Port, encoding_of, meddle
from tests.corpus.wire.tape import Step

LOOK_EVERY_S = 0.01
SETTLED_S = 0.2
QUICK = ClientSettings(backoff=ReconnectBackoff(first_s=0.1, max_s=0.2))


class Tap:
    """One connection, on which everything that passes is noted."""

    def __init__(self, recorder: Recorder, who: str, port: Port) -> None:
        self.who = who
        self._recorder = recorder
        self._port = port
        self._over: int | None = None

    def send(self, payload: bytes) -> None:
        self._note("sent", payload)
        self._port.hand_in(payload)

    async def receive(self) -> bytes:
        """Return the next message. Raises LinkClosed."""
        while True:
            self._port.take_out()
            if self._port.waiting:
                came = self._port.waiting.popleft()
                if isinstance(came, int):
                    self._over = came
                    self._recorder.note(Step(do="closed", who=self.who, code=came))
                    continue
                self._note("got", came)
                return came
            if self._over is not None:
                raise LinkClosed(close_row(self._over), "")
            await trio.sleep(LOOK_EVERY_S)

    def breaks(self) -> None:
        if self._over is None:
            self._over = 1006
            self._recorder.note(Step(do="breaks", who=self.who))
            self._port.breaks()

    def refuse(self, *refs: int) -> None:
        self._recorder.note(Step(do="refuse", who=self.who, refs=refs))
        self._port.refuse(refs)

    def _note(self, do: Literal["sent", "got"], payload: bytes) -> None:
        if self._port.encoding.name == "json":
            step = Step(do=do, who=self.who, text=payload.decode())
        else:
            step = Step(do=do, who=self.who, data=payload)
        self._recorder.note(step)


class TapLink:
    """The Python client's link on a tap."""

    def __init__(self, tap: Tap, target: Endpoint) -> None:
        self._tap = tap
        self._target = target

    async def send(self, payload: bytes) -> None:
        self._tap.send(payload)

    async def receive(self) -> AnyServerMessage:
        return self._target.encoding.decode_server(await self._tap.receive())

    async def watch_silence(self, _limit_s: float) -> None:
        await trio.sleep_forever()


class Plain:
    """A client without a library: it sends maps and gets maps."""

    def __init__(self, tap: Tap, name: str) -> None:
        self.tap = tap
        self.token = ""
        """The token of its session, once it is open."""
        self._name = name
        self._refs = itertools.count(1)

    async def ask(self, op: str, **fields: Any) -> Any:
        """Send a request with a ref; return the reply to it."""
        ref = next(self._refs)
        self.tap.send(self.encoded({"op": op, "ref": ref, **fields}))
        return await self.reply(ref)

    async def raw(self, payload: bytes, ref: int | None) -> Any:
        """Send any bytes; return the reply with this ref."""
        self.tap.send(payload)
        return await self.reply(ref)

    async def tell(self, op: str, **fields: Any) -> None:
        """Send a request that is not answered, and let it have its effects."""
        self.tap.send(self.encoded({"op": op, **fields}))
        await trio.testing.wait_all_tasks_blocked()

    async def reply(self, ref: int | None) -> Any:
        """The reply with this ref, past the pushes that come before it."""
        while True:
            message = await self.hear()
            if message["op"] in {"ok", "error"}:
                assert message["ref"] == ref, message
                return message

    async def hear(self, op: str = "") -> Any:
        """The next message, or the next of this op."""
        with trio.fail_after(60):
            while True:
                payload = await self.tap.receive()
                if self._name == "json":
                    message = json.loads(payload)
                else:
                    message = msgspec.msgpack.decode(payload)
                if op in {"", message["op"]}:
                    return message

    async def closed(self) -> int:
        """Hear all that comes until the connection is closed; the code."""
        try:
            while True:
                await self.tap.receive()
        except LinkClosed as closed:
            return closed.close.code

    def encoded(self, message: Any) -> bytes:
        """As the plainest libraries encode it: JSON with its spaces, and ASCII only."""
        if self._name == "json":
            return json.dumps(message).encode()
        return msgspec.msgpack.encode(message)


class Recorder:
    """What a scene works with."""

    def __init__(self, house: House, encoding: Literal["msgpack", "json"]) -> None:
        self.encoding = encoding
        self.steps: list[Step] = []
        self._house = house
        self._made: Counter[str] = Counter()
        self._taps: dict[str, Tap] = {}
        self._cut: set[str] = set()
        self._states: dict[str, bool] = {}  # whether a connection's last step was a state

    def note(self, step: Step) -> None:
        """Add a step. Of states that follow one another only the first: there are 20 a second."""
        of_this = self._states.get(step.who)
        is_state = step.do == "got" and step.plain()["op"] == "match.state"
        self._states[step.who] = is_state
        if not (is_state and of_this):
            self.steps.append(step)

    def plain(self, who: str) -> Plain:
        """A new connection without a client library."""
        return Plain(self._connect(who), self.encoding)

    def client(self, who: str, token: str | None = None) -> AbstractAsyncContextManager[Session]:
        """The Python client."""
        return connect(
            f"ws://{who}/ws",
            name=None if token else who,
            token=token,
            encoding=self.encoding,
            settings=QUICK,
            rng=random.Random(1),
        )

    async def wait(self, seconds: float = SETTLED_S) -> None:
        self.note(Step(do="wait", seconds=seconds))
        await trio.sleep(seconds)

    def crash(self, room: str) -> None:
        self.note(Step(do="crash", what=room))
        self._house.break_room(room)

    def meddle(self, do: Literal["trip", "gift"], game: str, times: int) -> None:
        self.note(Step(do=do, what=game, code=times))
        meddle(do, game, times)

    async def cut(self, who: str, session: Session) -> None:
        """The network of `who` breaks, and is away until it is mended."""
        self._cut.add(who)
        self._taps[who].breaks()
        await _until(lambda: not session.connected)

    async def mend(self, who: str, session: Session) -> None:
        self._cut.discard(who)
        await _until(lambda: session.connected)
        await self.wait()

    def _connect(self, who: str) -> Tap:
        self._made[who] += 1
        name = f"{who}-{self._made[who]}"
        self.note(Step(do="connect", who=name))
        tap = Tap(self, name, Port(self._house, encoding_of(self.encoding)))
        self._taps[who] = tap
        return tap

    @asynccontextmanager
    async def open_link(self, target: Endpoint) -> AsyncIterator[TapLink]:
        """In place of the client's own."""
        who = str(urlsplit(target.url).hostname)
        if who in self._cut:
            raise CannotConnect(target.url, "cut off by the scene")
        tap = self._connect(who)
        try:
            yield TapLink(tap, target)
        finally:
            tap.breaks()

    @asynccontextmanager
    async def recording(self) -> AsyncIterator[None]:
        """Have Python clients use recorded links while the block runs."""
        with patch("protocol.remote.channel.open_link", self.open_link):
            yield


async def _until(true: Callable[[], bool]) -> None:
    with trio.fail_after(300):
        while not true():
            await trio.sleep(LOOK_EVERY_S)
