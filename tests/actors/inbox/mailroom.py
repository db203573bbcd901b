"""Players with an inbox each: the service as server.py starts it, on the real PostgreSQL.

Time is real here, as threads do not wait for trio's mock clock; no test waits by it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import trio

from actors.edge.settings import SessionSettings
from actors.facts import Facts, Pushes
from actors.inbox import Putting
from actors.inbox.entries import Newest
from actors.inbox.host import InboxCounters, InboxHost
from actors.inbox.messages import KIND
from actors.inbox.online_users import OnlineUsers
from actors.inbox.service import INBOX
from actors.inbox.settings import InboxSettings
from actors.inbox.user import UserInbox, user_kind
from actors.runtime.child import ChildSpec
from actors.runtime.kinds import Kind
from actors.service import Frame, Running
from persistence import PostgresSettings
from persistence.commands import CommandKind, CommandTable, CommandWorker, Transaction
from persistence.queries import QueryTable, QueryWorker
from protocol.errors import RequestError
from protocol.http.metrics import Reading
from protocol.messages.envelope import Position, Push
from protocol.messages.inbox import (
    EPOCH,
    InboxEntry,
    InboxHistory,
    InboxJoin,
    InboxPage,
    InboxRecovered,
    InboxState,
)
from tests.actors.players import House, Player, open_house
from tests.actors.served import LIMIT_S

T = TypeVar("T")
P = TypeVar("P", bound=Push)


class Put(msgspec.Struct, frozen=True):
    """A command that puts an entry into inboxes, which no service does yet."""

    users: list[str]
    payload: Any
    type: str = "trial.note"


class PutRaw(msgspec.Struct, frozen=True):
    """`Put` without any checks."""

    user: str
    payload: bytes


class Settings:
    def __init__(self, inbox: InboxSettings) -> None:
        self.inbox = inbox

    def section(self, name: str, kind: type[T]) -> T:
        assert name == "inboxes"
        assert isinstance(self.inbox, kind)
        return self.inbox


def trial_commands(settings: Any) -> Sequence[CommandKind]:
    putting = Putting(settings)

    def put(transaction: Transaction, command: Put) -> None:
        for user in command.users:
            putting.put(transaction, user, command.type, command.payload)

    def put_raw(transaction: Transaction, command: PutRaw) -> None:
        transaction.push(command.user, "trial.raw", command.payload)

    return (
        CommandKind(service="trial", name="trial.put", command=Put, run=put),
        CommandKind(service="trial", name="trial.raw", command=PutRaw, run=put_raw),
    )


class Mailroom:
    """A node with the service of inboxes, for tests."""

    def __init__(self, house: House, facts: Facts, running: Running) -> None:
        self.house = house
        self.facts = facts
        self.running = running

    async def put(self, *users: str, payload: Any = "hi", by: str = "anyone") -> None:
        """Put an entry into inboxes; returns once it is durable."""
        await self.facts.execute(Put(list(users), payload), user=by)

    async def newest(self, user: str) -> int:
        """Return the last offset of the inbox in PostgreSQL."""
        return int((await self.facts.ask(Newest([user]))).get(user, 0))

    def inbox(self, user: str) -> UserInbox | None:
        """Return the inbox's actor, if it is in memory."""
        actor: UserInbox | None = self.house.instance("user", user)
        return actor

    def reading(self, name: str) -> float:
        """One of the service's readings."""
        found = [
            one.value
            for one in self.running.readings()
            if isinstance(one, Reading)
            and one.name in {f"greenroom_{name}", f"greenroom_{name}_total"}
        ]
        assert len(found) == 1
        return found[0]


def user_of(player: Player) -> str:
    assert player.opened is not None
    return player.opened.user


async def joined(player: Player) -> InboxState:
    state: InboxState = await player.ask(InboxJoin())
    return state


async def page(player: Player, before: int = 0, limit: int = 50) -> InboxPage:
    found: InboxPage = await player.ask(InboxHistory(before=before, limit=limit))
    return found


async def pushed(player: Player, kind: type[P], count: int = 1) -> list[P]:
    """Wait for so many pushes of this type, and return them."""
    found: list[P] = []
    with trio.fail_after(LIMIT_S):
        while len(found) < count:
            found += player.got(kind)
            await trio.sleep(0.002)
    return found


async def offsets(player: Player, last: int) -> list[int]:
    """Return the offsets of the entries that were pushed, up to this one."""
    found: list[int] = []
    with trio.fail_after(LIMIT_S):
        while not found or found[-1] < last:
            found += [entry.offset for entry in player.got(InboxEntry)]
            await trio.sleep(0.002)
    return found


async def resumed(
    room: Mailroom, player: Player, offset: int, *, epoch: int = EPOCH
) -> tuple[Player, InboxRecovered]:
    """The player's user on another connection, at this position in the inbox."""
    again = room.house.connect()
    token = room.house.token(player)
    await again.resume(token, {f"user:{user_of(player)}": Position(epoch, offset)})
    return again, (await pushed(again, InboxRecovered))[0]


@asynccontextmanager
async def open_mailroom(
    postgres: PostgresSettings,
    settings: InboxSettings = InboxSettings(),  # noqa: B008 - frozen
    *,
    sessions: SessionSettings | None = None,
    hints: bool = True,
    queries_at: PostgresSettings | None = None,
) -> AsyncIterator[Mailroom]:
    """Open a node for a test.

    `hints` False: no hint of new entries arrives. `queries_at`: another PostgreSQL for queries.
    """
    given = Settings(settings)
    pushes, deaf = Pushes(), Pushes()
    commands = CommandTable(
        [*INBOX.commands(given), *trial_commands(given)], refusals=(RequestError,)
    )
    queries = QueryTable(INBOX.queries(given))
    async with open_house(sessions=sessions) as house:
        told = (pushes if hints else deaf).committed
        workers = [
            ChildSpec(id=name, factory=partial(CommandWorker, postgres, commands, told))
            for name in ("commands-0", "commands-1")
        ]
        workers.append(
            ChildSpec(id="queries", factory=partial(QueryWorker, queries_at or postgres, queries))
        )
        await house.system.supervise(workers, key="stores").started()
        ref = house.system.ref
        facts = Facts(
            [ref("stores", "commands-0"), ref("stores", "commands-1")], [ref("stores", "queries")]
        )

        def placed(kind: Kind) -> Kind:
            """Give each node inboxes that work with its own hub, as in a cluster."""
            _, *others = house.nodes
            kinds = [kind]
            for node in others:
                online = OnlineUsers(house.system)
                pushes.listen(online.pushed)
                host = InboxHost(
                    topics=node.topics,
                    facts=facts,
                    settings=settings,
                    online=online,
                    counters=InboxCounters(),
                )
                kinds.append(user_kind(host))
            return house.nodes.placed(kinds) if others else kind

        house.system.register_as(KIND, placed)
        nothing = cast("Any", None)
        running = INBOX.start(
            Frame(
                settings=given,
                folder=Path(),
                system=house.system,
                topics=house.topics,
                scopes=frozenset(),
                announced=frozenset(),
                events=nothing,
                open_log=nothing,
                facts=facts,
                pushes=pushes,
                keeping=nothing,
                schedules=nothing,
                counters=nothing,
                audit=nothing,
                clock_ms=house.context.clock_ms,
            )
        )
        yield Mailroom(house, facts, running)
