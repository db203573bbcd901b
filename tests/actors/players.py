"""Players without a network: real handlers, sessions, rooms and outboxes, but no sockets.

A `Player` passes its requests to the handler of its connection, as the server does once it has
decoded them, and reads what its outbox would have sent. Nothing waits for a socket, so these tests
run on trio's autojump clock.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec
import trio
import trio.testing

from actors.edge.access import Access
from actors.edge.activations import Activations
from actors.edge.connected_client import ConnectedClient
from actors.edge.doorman import Doorman
from actors.edge.identity import Identity, node_of
from actors.edge.routes import Route
from actors.edge.session import ROUTES as SESSION_ROUTES
from actors.edge.session import Context
from actors.edge.session_gateway import ClientHandler, SessionGateway
from actors.edge.settings import SessionSettings
from actors.edge.tokens import Tokens
from actors.edge.topic_messages import Leave
from actors.edge.topics import Topics
from actors.runtime.durability import DurabilitySettings
from actors.runtime.loop_cell import LoopCell
from actors.runtime.memory import MemoryEventStore, MemorySnapshotStore
from protocol.codec import MSGPACK, Encoding
from protocol.errors import BAD_MESSAGE, CLOSES, CloseCode, RequestError
from protocol.frames import CLOSE, parse_close
from protocol.messages import AnyRequest
from protocol.messages.envelope import ErrorReply, Ok, Position, Push, Request
from protocol.messages.room import RoomJoin, RoomMessage, RoomRecovered, RoomState
from protocol.messages.session import SessionOpen, SessionOpened, SessionResume
from protocol.server.flusher import Flusher
from protocol.server.keepalive import Wheel
from protocol.server.settings import WireSettings
from protocol.server.websocket import Connection
from tests.actors.nodes import LAYOUT, Nodes, PlacedSystem
from tests.actors.replies import code_of, data_of
from tests.left_out import has

if TYPE_CHECKING:  # of services that may be left out
    from actors.chat.settings import RoomSettings
    from actors.matches.rules.game import Game
    from actors.matches.settings import MatchSettings
    from tests.actors.match_rows import MatchRows

SECRET = b"a secret of the tests, 32 bytes."
P = TypeVar("P", bound=Push)


class Player:
    """One connection and what came over it."""

    def __init__(
        self,
        handler: ClientHandler,
        encoding: Encoding,
        at_home: Callable[[str], ClientHandler] | None = None,
    ) -> None:
        self.handler = handler
        self.client: ConnectedClient = handler.client
        self.encoding = encoding
        self._at_home = at_home
        self.pushes: list[Push] = []
        self.heard: list[Push | Ok | ErrorReply] = []
        """Everything that came, in order."""
        self.replies: list[Ok | ErrorReply] = []
        self.closed: CloseCode | None = None
        self.opened: SessionOpened | None = None
        self._refs = itertools.count(1)

    def tell(self, request: AnyRequest, size: int = 40) -> None:
        """Send a request that counts as so many bytes. A closed connection ignores it."""
        if isinstance(request, SessionResume) and self._at_home is not None:
            at_home, self._at_home = self._at_home, None
            with contextlib.suppress(RequestError):  # of a token that is none
                self.handler = at_home(request.token)
                self.client = self.handler.client
        if not self.client.connection.closed:
            self.client.connection.message_bytes = size
            assert self.handler.received(request) is None
            self.client.connection.end_shed()

    def garble(self, ref: int | None, detail: str = "") -> None:
        """Send bytes that are no request."""
        if not self.client.connection.closed:
            self.client.connection.message_bytes = 40
            self.handler.undecodable(RequestError(BAD_MESSAGE, detail), ref)

    def take(self) -> None:
        """Read the messages that have arrived."""
        outbox = self.client.outbox
        while data := outbox.next_bytes():
            outbox.sent(data, len(data))
            outbox.idle()
            for opcode, payload in _frames(bytes(data)):
                self._took(opcode, payload)

    def _took(self, opcode: int, payload: bytes) -> None:
        if opcode == CLOSE:
            self.closed = CLOSES[parse_close(payload)[0]]
            return
        message = self.encoding.decode_server(payload)
        self.heard.append(message)
        if isinstance(message, ErrorReply):
            self.replies += message.each()
        elif isinstance(message, Ok):
            self.replies.append(message)
        else:
            self.pushes.append(message)

    async def settle(self) -> None:
        """Wait until everything that was sent has had its effects, and these have arrived."""
        await trio.testing.wait_all_tasks_blocked()
        self.take()

    async def replied(self, ref: int, within_s: float = 20.0) -> Ok | ErrorReply:
        """Return the only reply with this ref."""
        with trio.fail_after(within_s):
            while True:
                await self.settle()
                found = [reply for reply in self.replies if reply.ref == ref]
                if found:
                    assert len(found) == 1
                    self.replies.remove(found[0])
                    return found[0]
                await trio.sleep(0.01)

    async def ask(self, request: AnyRequest) -> Any:
        """Send a request and return the data of its `ok`. Raises Refusal."""
        ref = next(self._refs)
        self.tell(msgspec.structs.replace(request, ref=ref))
        reply = await self.replied(ref)
        return data_of(request, reply)

    async def refused(self, request: AnyRequest) -> str:
        """Send a request that must fail and return the code."""
        return await code_of(self.ask(request))

    async def open(self, name: str) -> SessionOpened:
        opened: SessionOpened = await self.ask(SessionOpen(name=name))
        self.opened = opened
        return opened

    async def resume(
        self, token: str, positions: dict[str, Position] | None = None
    ) -> SessionOpened:
        opened: SessionOpened = await self.ask(
            SessionResume(token=token, positions=positions or {})
        )
        self.opened = opened
        return opened

    def leave(self) -> None:
        """Break the connection."""
        self.client.connection.close(CLOSES[1000])
        self.handler.disconnected(1006, "the network broke")

    def got(self, kind: type[P]) -> list[P]:
        """Take the pushes of this type that have come since the last time."""
        self.take()
        found = [push for push in self.pushes if isinstance(push, kind)]
        self.pushes = [push for push in self.pushes if not isinstance(push, kind)]
        return found


def _frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        opcode, length = data[at] & 0x0F, data[at + 1]
        at += 2
        if length == 126:
            length, at = int.from_bytes(data[at : at + 2], "big"), at + 2
        elif length == 127:
            length, at = int.from_bytes(data[at : at + 8], "big"), at + 8
        yield opcode, data[at : at + length]
        at += length


class House:
    """The services, sessions and gateways of one node, or of several, on stores in memory.

    Attributes:
        nodes: the nodes, and where things live.
        gateways: node id -> the gateway of that node.
        gateway: the gateway where clients connect. With two nodes it is not on the owners' node.
        context: what the sessions of that gateway share.
        topics: the hub of the owners' node.
    """

    def __init__(
        self,
        system: PlacedSystem,
        nodes: Nodes,
        gateways: Mapping[str, SessionGateway],
        context: Context,
    ) -> None:
        self.system = system
        self.nodes = nodes
        self.gateways = gateways
        self.gateway = list(gateways.values())[-1]
        self.context = context
        self.topics: Topics = next(iter(nodes)).topics
        self.exits = ExitStack()
        self._ids = itertools.count(1)
        self._wire = WireSettings()

    def connect(
        self,
        encoding: Encoding = MSGPACK,
        *,
        address: str | None = None,
        node: str | None = None,
    ) -> Player:
        """Connect a client to a node.

        None: to the next in turn, or to its session's if it resumes.
        """
        there = self.nodes.next_for_client().name if node is None else node
        handler = self._handler(there, encoding, address)

        def at_home(token: str) -> ClientHandler:
            session = self.context.tokens.verify(token).session
            home = node_of(session)
            if home is None or home == there:
                return handler
            return self._handler(home, encoding, address)

        return Player(handler, encoding, at_home if node is None else None)

    def _handler(self, node: str, encoding: Encoding, address: str | None) -> ClientHandler:
        near, far = socket.socketpair()
        self.exits.callback(near.close)
        self.exits.callback(far.close)
        connection = Connection(
            next(self._ids),
            encoding,
            "nowhere",
            near,
            settings=self._wire,
            flusher=Flusher(),
            wheel=Wheel(20.0),
            address=address,
        )
        return self.gateways[node].accept(connection)

    async def player(
        self, name: str, encoding: Encoding = MSGPACK, *, node: str | None = None
    ) -> Player:
        player = self.connect(encoding, node=node)
        await player.open(name)
        return player

    async def hand_over(self, kind: str, key: str, to: str) -> None:
        """Stop the owner of a topic. Its next message starts it on that node."""
        tell_hubs = await self.move(kind, key, to)
        tell_hubs()

    async def move(self, kind: str, key: str, to: str) -> Callable[[], None]:
        """Do as `hand_over`, but call what this returns to have the hubs name the members."""
        cell = self.system.lookup(kind, key)
        assert cell is not None
        await cell.stop("moved")
        before = self.nodes.of_owner(kind, key)
        self.nodes.move(kind, key, to)
        return lambda: before.topics.hand_over(f"{kind}:{key}")

    def break_room(self, name: str) -> None:
        self.break_owner("room", name)

    def break_owner(self, kind: str, key: str) -> None:
        """Crash a room or match, by a message that no client can send.

        Each message differs, because one that has crashed an actor twice is not tried again.
        """
        poison: Any = [f"not hashable {next(self._ids)}"]
        self.system.ref(kind, key).tell(Leave(Identity(poison, "", "")))

    def token(self, player: Player) -> str:
        """Return a token that opens another session of the player's user."""
        assert player.opened is not None
        user, name = player.opened.user, player.opened.name
        return self.context.tokens.issue("one that is over", user, name)

    async def second_device(self, player: Player, encoding: Encoding = MSGPACK) -> Player:
        """Open another session of the player's user."""
        device = self.connect(encoding)
        await device.resume(self.token(player))
        return device

    @contextmanager
    def no_room_at(self, kind: str, key: str) -> Iterator[None]:
        """Make an actor's mailbox full: it takes only messages that pass a full mailbox."""
        cell = self.system.lookup(kind, key)
        assert isinstance(cell, LoopCell)
        mailbox = cell.mailbox
        capacity, mailbox.capacity = mailbox.capacity, 0
        try:
            yield
        finally:
            mailbox.capacity = capacity

    def instance(self, kind: str, key: str) -> Any:
        """Return the present instance of an actor; None: it is not in memory."""
        cell = self.system.lookup(kind, key)
        return None if cell is None else cell.actor_or_none()


@asynccontextmanager
async def open_house(
    *,
    events: MemoryEventStore | None = None,
    snapshots: MemorySnapshotStore | None = None,
    rows: MatchRows | None = None,
    sessions: SessionSettings | None = None,
    rooms: RoomSettings | None = None,
    durability: DurabilitySettings | None = None,
    games: Sequence[type[Game]] | None = None,
    matches: MatchSettings | None = None,
    seed: int | None = None,
    access: Access | None = None,
) -> AsyncIterator[House]:
    """Open a node for a test, or two nodes, see `Layout`.

    With the stores of an earlier house it stands for a restart. `games`: None is tic-tac-toe.
    `seed` is that of all matches; None: each has its own. `access` is that of accounts; None: there
    are guests only.
    """
    events = events or MemoryEventStore()
    settings = sessions or SessionSettings(messages_per_s=0, bytes_per_s=0)
    numbers = itertools.count(round(trio.current_time() * 1e6))  # not those of an earlier node

    def clock_ms() -> int:
        return 1_700_000_000_000 + round(trio.current_time() * 1000) % 10**9

    routes = dict(SESSION_ROUTES)

    def context(topics: Topics) -> Context:
        return Context(
            settings=settings,
            topics=topics,
            tokens=Tokens(
                [SECRET], valid_s=settings.token_valid_s, clock=lambda: clock_ms() / 1000
            ),
            clock_ms=clock_ms,
            keepalive_s=20.0,
            max_message_bytes=65_536,
            routes=routes,
            access=access,
            activations=Activations(settings),
        )

    async with PlacedSystem("house", seed=1) as system:
        system.use_stores(events, snapshots, durability)
        nodes = system.nodes = Nodes(system, LAYOUT.get(), settings)
        ground = Ground(system, nodes, events, clock_ms)
        if has("chat"):
            routes.update(chat(ground, rooms))
        if has("inbox"):
            routes.update(inboxes())
        if has("matches"):
            routes.update(played(ground, games, matches, rows, seed))
        contexts = {node.name: context(node.topics) for node in nodes}
        gateways = {
            name: SessionGateway(
                system, shared, lambda: f"id{next(numbers)}", Doorman(WireSettings(), settings)
            )
            for name, shared in contexts.items()
        }
        house = House(system, nodes, gateways, list(contexts.values())[-1])
        with house.exits:
            yield house


# --- services: imported where they are started, as any of them may be left out -------------------


class Ground(NamedTuple):
    """What services are started on."""

    system: PlacedSystem
    nodes: Nodes
    events: MemoryEventStore
    clock_ms: Callable[[], int]


def chat(ground: Ground, settings: RoomSettings | None) -> Mapping[type[Request], Route]:
    from actors.chat.history import KIND, reader_specs
    from actors.chat.room import room_kind
    from actors.chat.routes import ROUTES
    from actors.chat.settings import RoomSettings

    system, nodes, events, clock_ms = ground
    system.supervise(reader_specs(events), key=KIND)
    kinds = [room_kind(node.topics, settings or RoomSettings(), clock_ms) for node in nodes]
    system.register(nodes.placed(kinds))
    return ROUTES


def inboxes() -> Mapping[type[Request], Route]:
    from actors.inbox.routes import ROUTES

    return ROUTES


def played(
    ground: Ground,
    games: Sequence[type[Game]] | None,
    settings: MatchSettings | None,
    rows: MatchRows | None,
    seed: int | None,
) -> Mapping[type[Request], Route]:
    from actors.matches.host import MatchHost
    from actors.matches.match_kind import match_kind
    from actors.matches.routes import match_routes
    from actors.matches.service import start_matches
    from actors.matches.settings import MatchSettings
    from examples.tictactoe import TicTacToe
    from tests.actors.match_rows import MatchRows

    system, nodes, events, clock_ms = ground
    host = MatchHost(
        {game.name: game for game in ((TicTacToe,) if games is None else games)},
        next(iter(nodes)).topics,
        settings or MatchSettings(),
        clock_ms=clock_ms,
    )
    hosts = [dataclasses.replace(host, topics=node.topics) for node in nodes]
    if seed is not None:
        hosts = [dataclasses.replace(host, new_seed=lambda: seed) for host in hosts]
    system.register_instead(nodes.placed([match_kind(host) for host in hosts]))
    return match_routes(start_matches(system, hosts[0], rows or MatchRows(), events))


# --- shorthands ----------------------------------------------------------------------------------


def unlimited(
    *,
    resume_within_s: float = 60.0,
    topics: int = 64,
    in_flight: int = 64,
    max_sessions: int = 100_000,
    mailbox: int = 256,
) -> SessionSettings:
    return SessionSettings(
        messages_per_s=0,
        bytes_per_s=0,
        resume_within_s=resume_within_s,
        topics=topics,
        in_flight=in_flight,
        max_sessions=max_sessions,
        mailbox=mailbox,
    )


def token_of(player: Player) -> str:
    assert player.opened is not None
    return player.opened.token


def at(state: RoomState | RoomRecovered) -> Position:
    return Position(epoch=state.epoch, offset=state.offset)


async def in_room(house: House, name: str, room: str = "lobby") -> tuple[Player, RoomState]:
    player = await house.player(name)
    return player, await player.ask(RoomJoin(room=room))


def sessions(house: House) -> list[str]:
    return [ref.key for ref in house.system.actors("session")]


async def joined(
    house: House, name: str, room: str = "lobby", *, node: str | None = None
) -> Player:
    player = await house.player(name, node=node)
    await player.ask(RoomJoin(room=room))
    player.pushes.clear()
    return player


def bodies(player: Player) -> list[str]:
    return [push.body for push in player.got(RoomMessage)]
