"""What a match needs: a system on stores in memory, a host, and players who keep their pushes."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
import pytest
import trio
import trio.testing

import actors
from actors.edge.failures import Refused
from actors.edge.identity import Identity
from actors.edge.settings import SessionSettings
from actors.edge.topic_messages import Join, Leave, PutOff, RemovedFromTopic, Resume, Resumed
from actors.matches.directory import Directory
from actors.matches.host import MatchHost
from actors.matches.match_kind import match_kind
from actors.matches.messages import Input
from actors.matches.old_directory import OLD_DIRECTORY
from actors.matches.rules.game import Game
from actors.matches.service import start_matches
from actors.matches.settings import MatchSettings
from actors.runtime.durability import DurabilitySettings
from actors.runtime.journal_settings import JournalSettings
from actors.runtime.memory import MemoryEventStore, MemorySnapshotStore
from protocol.codec import JSON, MSGPACK, Encoding
from protocol.errors import CloseCode, ErrorCode
from protocol.messages.match import (
    InputTaken,
    MatchCreate,
    MatchEvent,
    MatchList,
    MatchState,
    MatchStatePush,
    MatchSummary,
)
from tests.actors.match_rows import MatchRows
from tests.actors.nodes import LAYOUT, Nodes, PlacedSystem

SMALL = DurabilitySettings(journal=JournalSettings(max_events=2))
"""Settings of a journal with little room."""

Pushed = TypeVar("Pushed", bound=msgspec.Struct)


class _Unframed:
    """An encoding of the wire, without WebSocket frames."""

    def __init__(self, encoding: Encoding) -> None:
        self.frame = encoding.encode
        self.reframe = encoding.reencode
        self.read = encoding.decode_server


_UNFRAMED = {encoding: _Unframed(encoding) for encoding in (MSGPACK, JSON)}


class Seen:
    """A connection and its outbox in one: it decodes what it was sent and keeps it."""

    _ids = itertools.count(1)

    def __init__(self, encoding: Encoding = MSGPACK) -> None:
        self.id = next(self._ids)
        self.encoding = _UNFRAMED[encoding]
        self.pushes: list[Any] = []
        self.room_bytes = 1_000_000
        self.closed: CloseCode | None = None

    @property
    def outbox(self) -> Seen:
        return self

    def push(self, frame: bytes) -> None:
        self.pushes.append(self.encoding.read(frame))

    def push_soon(self, frame: bytes) -> None:
        self.push(frame)

    def replace(self, slot: str, frame: bytes) -> None:
        self.push(frame)

    def takes(self, size: int) -> bool:
        return size <= self.room_bytes

    def close(self, code: CloseCode) -> None:
        self.closed = code


class SessionActor(actors.Actor):
    """Stands for a session: a match can watch it, and tell it that a topic is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.gone: list[RemovedFromTopic] = []
        self.put_off: list[PutOff] = []

    @actors.handles(PutOff)
    def put_off_one(self, message: PutOff) -> None:
        self.put_off.append(message)

    @actors.handles(int)
    def take_put_off(self, _question: int) -> list[PutOff]:
        put_off, self.put_off = self.put_off, []
        return put_off

    @actors.handles(RemovedFromTopic)
    def topic_gone(self, message: RemovedFromTopic) -> None:
        self.gone.append(message)

    @actors.handles(str)
    def read(self, _question: str) -> list[RemovedFromTopic]:
        return self.gone


class Player:
    """A user with one session at a time."""

    def __init__(self, table: Table, user: str, device: str, encoding: Encoding = MSGPACK) -> None:
        self.table = table
        self.user = user
        self._device = device
        self._encoding = encoding
        self._topics = table.nodes.next_for_client().topics
        self.connect()

    def connect(self) -> None:
        """Begin a new session on a new connection."""
        number = f"{self.user}-{self._device}-{next(self.table.numbers)}"
        self.session = self._topics.new_session(number)
        self.who = Identity(self.session, self.user, self.user.title())
        self.ref = self.table.system.start(SessionActor, kind="session", key=self.session)
        self.reconnect()

    def reconnect(self) -> None:
        """Make another connection for the same session."""
        self.seen = Seen(self._encoding)
        self._topics.attach(self.who, self.seen)

    @property
    def is_near(self) -> bool:
        """Whether the session is on the node of the matches."""
        return self._topics is self.table.topics

    async def vanish(self) -> None:
        """End the session."""
        self._topics.end_session(self.session)
        await self.ref.stop()
        await settled()

    async def join(self, match: str) -> MatchState:
        message = Join(self.who, self.seen.id)
        state: MatchState = await self.ask(match, message)
        return state

    async def resume(self, match: str, epoch: int, offset: int) -> Resumed:
        message = Resume(self.who, self.seen.id, epoch, offset)
        resumed: Resumed = await self.ask(match, message)
        # Of a match on another node, the hub of this one says whether there was room.
        return Resumed.LATER if await self.ref.ask(0) else resumed

    async def leave(self, match: str) -> None:
        await self.ask(match, Leave(self.who))

    async def input(self, match: str, seq: int, value: Any) -> InputTaken:
        taken: InputTaken = await self.ask(match, Input(self.who, seq, value))
        return taken

    async def ask(self, match: str, message: Any) -> Any:
        answer = await self.table.match(match).ask(message)
        await settled()
        return answer

    def got(self, *kinds: type[Pushed]) -> list[Pushed]:
        return [push for push in self.seen.pushes if isinstance(push, kinds)]

    async def told_gone(self) -> list[RemovedFromTopic]:
        """Return the topics that the session was told are gone."""
        gone: list[RemovedFromTopic] = await self.ref.ask("gone?")
        return gone

    @property
    def events(self) -> list[tuple[int, str, str | None]]:
        return [(push.offset, push.kind, push.player) for push in self.got(MatchEvent)]

    @property
    def state(self) -> Any:
        return self.got(MatchStatePush)[-1].state


class Table:
    """One start of a server, as far as matches go."""

    def __init__(
        self,
        system: actors.ActorSystem,
        host: MatchHost,
        directory: Directory,
        stores: Stores,
        nodes: Nodes,
    ) -> None:
        self.nodes = nodes
        self.system = system
        self.directory = directory
        self.numbers = itertools.count(1)
        self.stores = stores
        self.host = host
        self.topics = host.topics

    def player(self, user: str, device: str = "desk", encoding: Encoding = MSGPACK) -> Player:
        return Player(self, user, device, encoding)

    def match(self, name: str) -> actors.ActorRef:
        return self.system.ref("match", name)

    async def create(
        self,
        game: str,
        key: str | None = None,
        user: str = "host",
        address: str | None = None,
        **params: Any,
    ) -> str:
        who = Identity("", user, user.title(), address=address)
        created = await self.directory.create(who, MatchCreate(game=game, params=params, key=key))
        await settled()
        return created.match

    async def listed(self, game: str | None = None, limit: int = 50) -> list[MatchSummary]:
        who = Identity("", "anyone", "Anyone")
        return (await self.directory.list(who, MatchList(game=game, limit=limit))).matches

    def log(self, match: str) -> list[str]:
        """Return the types of the match's events."""
        return [row[4] for row in self.stores.events.rows("match", match)]


class Stores:
    """The stores, which outlive a server."""

    def __init__(self, *, snapshots: bool = True) -> None:
        self.events = MemoryEventStore()
        self.snapshots = MemorySnapshotStore() if snapshots else None
        self.rows = MatchRows()

    def as_after_a_kill(self, *, snapshots: bool = True) -> Stores:
        """Return the stores as a server finds them that starts after this one was killed now."""
        found = copy.deepcopy(self)
        if not snapshots:
            found.snapshots = MemorySnapshotStore()
        return found


async def settled() -> None:
    """Let everything that is under way happen."""
    for _ in range(3):
        await trio.testing.wait_all_tasks_blocked()


async def refused(error: ErrorCode, asking: Awaitable[object], detail: str = "") -> None:
    """Check that the request is refused with this error, whose detail contains this text."""
    with pytest.raises(Refused) as caught:
        await asking
    assert caught.value.error == error
    assert detail in caught.value.detail


async def seated(one: Table, match: str, *users: str) -> list[Player]:
    """Return these users, each joined by a session."""
    players = [one.player(user) for user in users]
    for player in players:
        await player.join(match)
    return players


async def two_players(one: Table, game: str) -> tuple[str, Player, Player]:
    """Return a new match of this game, and the two who have joined it."""
    match = await one.create(game)
    ada, bob = await seated(one, match, "ada", "bob")
    return match, ada, bob


@asynccontextmanager
async def table(
    *games: type[Game],
    stores: Stores | None = None,
    durability: DurabilitySettings | None = None,
    **settings: Any,
) -> AsyncIterator[Table]:
    stores = stores or Stores()
    if stores.events.rows(*OLD_DIRECTORY) and not stores.rows.running:
        stores.rows.taken_over = False  # what the migration finds
    names = itertools.count(len(stores.events.epochs))
    async with PlacedSystem(seed=1) as system:
        system.use_stores(stores.events, stores.snapshots, durability)
        nodes = system.nodes = Nodes(system, LAYOUT.get(), SessionSettings())
        host = MatchHost(
            {game.name: game for game in games},
            next(iter(nodes)).topics,
            MatchSettings(**{"call_limit_s": 60.0} | settings),
            clock_ms=lambda: int(trio.current_time() * 1000),
            new_name=lambda: f"m{next(names)}",
            new_seed=lambda: 7,
        )
        hosts = [dataclasses.replace(host, topics=node.topics) for node in nodes]
        system.register_instead(nodes.placed([match_kind(one) for one in hosts]))
        directory = start_matches(system, host, stores.rows, stores.events)
        yield Table(system, host, directory, stores, nodes)
