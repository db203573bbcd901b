"""A node on a real port with the real stores, and clients for it on trio-websocket.

Rules for tests on sockets: they use localhost and a port that the system chose. The messages
themselves decide the order of events, never sleeping. Real time is only an upper bound.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from actors.edge.activations import Activations
from actors.edge.doorman import Doorman
from actors.edge.identity import Identity
from actors.edge.routes import Route
from actors.edge.session import ROUTES as SESSION_ROUTES
from actors.edge.session import Context
from actors.edge.session_gateway import SessionGateway
from actors.edge.settings import SessionSettings
from actors.edge.tokens import Tokens
from actors.edge.topic_messages import Leave
from actors.edge.topics import Topics
from actors.edge.warden import warden_kind
from actors.facts import Facts
from actors.runtime.child import ChildSpec
from actors.runtime.system import ActorSystem
from persistence import EventStore, PostgresSettings, RedisSettings, SnapshotStore
from persistence.postgres import EventReader, EventWriter
from persistence.redis import SnapshotWorker
from protocol.codec import MSGPACK, Encoding
from protocol.messages import AnyRequest
from protocol.messages.envelope import ErrorReply, Ok, Position, Push, Request
from protocol.messages.session import SessionOpen, SessionOpened, SessionResume
from protocol.server.gateway import Gateway
from protocol.server.listener import listen
from protocol.server.settings import WireSettings
from tests.actors.replies import code_of, data_of
from tests.left_out import has
from tests.protocol.websockets import websocket_over_stream

if TYPE_CHECKING:
    from actors.chat.settings import RoomSettings

LIMIT_S = 60.0
P = TypeVar("P", bound=Push)


class Caller:
    """One client connection."""

    def __init__(
        self, websocket: WebSocketConnection, stream: trio.SocketStream, encoding: Encoding
    ) -> None:
        self.websocket = websocket
        self.stream = stream  # the one under the WebSocket
        self.encoding = encoding
        self.pushes: list[Push] = []
        self.token = ""
        self.user = ""
        self._refs = itertools.count(1)

    async def send(self, data: bytes | str) -> None:
        """Send one message's payload as it is: bytes in a binary frame, str in a text frame."""
        await self.websocket.send_message(data)

    async def tell(self, request: AnyRequest) -> None:
        """Send a request and wait for nothing."""
        payload = self.encoding.encode(request)
        await self.send(payload if self.encoding is MSGPACK else payload.decode())

    async def reply(self) -> Ok | ErrorReply:
        """Return the next reply. Pushes that come before it are kept."""
        with trio.fail_after(LIMIT_S):
            while True:
                message = self.encoding.decode_server(await self.websocket.get_message())
                if isinstance(message, Ok | ErrorReply):
                    return message
                self.pushes.append(message)

    async def ask(self, request: AnyRequest) -> Any:
        """Send a request and return the data of its `ok`. Raises Refusal."""
        ref = next(self._refs)
        await self.tell(msgspec.structs.replace(request, ref=ref))
        reply = await self.reply()
        assert reply.ref == ref
        return data_of(request, reply)

    async def refused(self, request: AnyRequest) -> str:
        """Send a request that must fail and return the code."""
        return await code_of(self.ask(request))

    async def push(self, kind: type[P]) -> P:
        """Return the next push of this type, from those kept or those to come."""
        for push in self.pushes:
            if isinstance(push, kind):
                self.pushes.remove(push)
                return push
        with trio.fail_after(LIMIT_S):
            while True:
                message = self.encoding.decode_server(await self.websocket.get_message())
                assert not isinstance(message, Ok | ErrorReply), message
                if isinstance(message, kind):
                    return message
                self.pushes.append(message)

    async def open(self, name: str) -> SessionOpened:
        return self._opened(await self.ask(SessionOpen(name=name)))

    async def resume(self, token: str, **positions: Position) -> SessionOpened:
        """Resume with positions of rooms."""
        named = {f"room:{room}": position for room, position in positions.items()}
        return self._opened(await self.ask(SessionResume(token=token, positions=named)))

    async def closed(self) -> tuple[int, str]:
        """Read on until the server has closed; returns its code and reason."""
        with trio.fail_after(LIMIT_S), pytest.raises(ConnectionClosed) as closed:
            await self._read_on()
        close = closed.value.reason
        assert close is not None
        return close.code, close.reason or ""

    async def _read_on(self) -> None:
        while True:
            await self.websocket.get_message()

    def _opened(self, opened: SessionOpened) -> SessionOpened:
        self.token, self.user = opened.token, opened.user
        return opened


class Served:
    """A node that serves, and the handles by which a test disturbs it."""

    def __init__(
        self, system: ActorSystem, topics: Topics, sessions: SessionGateway, gateway: Gateway
    ) -> None:
        self.system = system
        self.topics = topics
        self.sessions = sessions
        self.gateway = gateway
        self.port = 0

    @asynccontextmanager
    async def caller(self, encoding: Encoding = MSGPACK) -> AsyncIterator[Caller]:
        async with websocket_over_stream(self.port, encoding.subprotocol) as (websocket, stream):
            yield Caller(websocket, stream, encoding)

    @asynccontextmanager
    async def guest(self, name: str, encoding: Encoding = MSGPACK) -> AsyncIterator[Caller]:
        async with self.caller(encoding) as caller:
            await caller.open(name)
            yield caller

    def break_room(self, name: str) -> None:
        """Crash the room, by a message that no client can send."""
        poison: Any = [f"not hashable {secrets.token_hex(4)}"]
        self.system.ref("room", name).tell(Leave(Identity(poison, "", "")))


async def until(true: Callable[[], bool]) -> None:
    """Wait until the function returns true, for what no message tells."""
    with trio.fail_after(LIMIT_S):
        while not true():
            await trio.sleep(0.01)


def unix_ms() -> int:
    return time.time_ns() // 1_000_000


def chat(
    system: ActorSystem, topics: Topics, events: EventStore, settings: RoomSettings | None
) -> Mapping[type[Request], Route]:
    from actors.chat.history import KIND, reader_specs
    from actors.chat.room import room_kind
    from actors.chat.routes import ROUTES
    from actors.chat.settings import RoomSettings

    system.supervise(reader_specs(events), key=KIND)
    system.register(room_kind(topics, settings or RoomSettings(), unix_ms))
    return ROUTES


def no_games(system: ActorSystem, topics: Topics) -> Mapping[type[Request], Route]:
    from actors.matches.directory import Directory
    from actors.matches.host import MatchHost
    from actors.matches.routes import match_routes

    return match_routes(Directory(MatchHost({}, topics, clock_ms=unix_ms), Facts([], []), system))


@asynccontextmanager
async def serve(
    postgres: PostgresSettings,
    redis: RedisSettings,
    *,
    sessions: SessionSettings | None = None,
    rooms: RoomSettings | None = None,
    wire: WireSettings | None = None,
) -> AsyncIterator[Served]:
    """Run a node for a test."""
    settings = sessions or SessionSettings()
    async with ActorSystem("served") as system:
        stores: dict[str, Callable[[], Any]] = {
            "writer": partial(EventWriter, postgres),
            "reader": partial(EventReader, postgres),
            "snapshots": partial(SnapshotWorker, redis),
        }
        specs = [ChildSpec(id=name, factory=factory) for name, factory in stores.items()]
        system.supervise(specs, key="stores")
        refs = {name: system.ref("stores", name) for name in stores}
        events = EventStore(refs["writer"], refs["reader"])
        system.use_stores(events, SnapshotStore(refs["snapshots"]))
        topics = Topics()
        system.register(warden_kind(topics))
        routes = dict(SESSION_ROUTES)
        if has("chat"):
            routes.update(chat(system, topics, events, rooms))
        if has("matches"):
            routes.update(no_games(system, topics))
        wire = wire or WireSettings()
        context = Context(
            settings=settings,
            topics=topics,
            tokens=Tokens(
                [b"the same for every node of a test"],
                valid_s=settings.token_valid_s,
                clock=time.time,
            ),
            clock_ms=unix_ms,
            keepalive_s=wire.keepalive_s,
            max_message_bytes=wire.max_message_bytes,
            routes=routes,
            activations=Activations(settings),
        )
        doorman = Doorman(wire, settings)
        gateway = SessionGateway(system, context, lambda: secrets.token_urlsafe(12), doorman)
        served = Served(system, topics, gateway, Gateway(gateway.accept, wire, door=doorman))
        listeners = listen("127.0.0.1", 0)
        served.port = listeners[0].getsockname()[1]
        async with trio.open_nursery() as nursery:
            await nursery.start(served.gateway.serve, listeners)
            try:
                yield served
            finally:
                nursery.cancel_scope.cancel()
