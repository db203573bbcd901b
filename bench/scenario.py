"""What a scenario is made of: a plan (its settings), a load (what each generator does), a scenario.

The plan is one frozen Struct from which the command line, the generators' orders and the report's
list of settings are all made.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bench.client import Client
from bench.schedule import Schedule, Ticker
from bench.tally import Tally

HANDSHAKES_AT_ONCE = 32
TRIES = 5
RETRY_S = 5.0
CATCH_UP_S = 5.0
"""How long after the last event stragglers are awaited."""

Count = Annotated[int, Meta(ge=1, le=200_000)]
Rate = Annotated[float, Meta(ge=0.1, le=2_000_000)]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What every scenario can be told. Each field is an option of its command."""

    seconds: Annotated[float, Meta(ge=0.2, le=172_800, description="measured seconds")] = 10.0
    warmup: Annotated[float, Meta(ge=0, le=600, description="seconds before, not measured")] = 2.0
    seed: Annotated[int, Meta(description="of everything that is drawn at random")] = 1

    def sessions(self) -> int:
        """Connections at once, of all generators together."""
        return 0

    def crowd(self) -> int:
        """The most sessions on one topic."""
        members: int = getattr(self, "members", 0)
        return members

    def needs(self) -> list[str]:
        """Settings that Greenroom is started with, where the load goes beyond the defaults."""
        return more_connections(self.sessions()) + crowds(self.crowd())

    def intended(self) -> float | None:
        """Events a second that the schedule brings; None: there is no such number."""
        return None

    def at_rate(self, rate: float) -> Plan:
        """The same at another rate, for climbing."""
        return msgspec.structs.replace(self, rate=rate)


def more_connections(sessions: int) -> list[str]:
    """Settings for more connections than the default allows."""
    return [f"wire.max_connections={sessions + 1000}"] if sessions > 9_000 else []


def unlimited(messages_s: float) -> list[str]:
    """Settings for sessions that send so many messages a second each, where that needs some."""
    if messages_s <= 80:  # the default limit is 100 on average
        return []
    return ["sessions.messages_per_s=0", "sessions.bytes_per_s=0"]


def crowds(members: int) -> list[str]:
    """Settings for topics of so many members: what goes to more than 100 has a budget."""
    if members <= 100:
        return []
    return [
        "sessions.deliveries_per_s=0",
        "sessions.address_deliveries_per_s=0",
        "sessions.deliveries_all_per_s=0",
    ]


class Order(msgspec.Struct, frozen=True):
    """What one generator process is told."""

    scenario: str
    """Its module."""
    peer: str
    """The driver's module; empty: Greenroom."""
    url: str
    part: int
    parts: int
    plan: msgspec.Raw


class Load:
    """What one generator process does. Scenarios subclass it.

    Attributes:
        connect: makes a client of the server under test: `connect(tally, name)`.
        random: seeded, another in each process.
    """

    def __init__(self, order: Order, plan: Any, tally: Tally, connect: Callable[..., Any]) -> None:
        self.order = order
        self.plan = plan
        self.tally = tally
        self.connect = connect
        self.random = random.Random(plan.seed * 1000 + order.part)
        self.clients: list[Any] = []

    async def prepare(self) -> None:
        """All that comes before the clock starts."""

    def rate(self) -> float:
        """Events a second of all generators together."""
        return float(self.plan.rate)

    def seconds(self) -> float:
        """How long events are due, warm-up included."""
        return float(self.plan.warmup + self.plan.seconds)

    def act(self, number: int, scheduled_ns: int) -> None:
        """Do what event `number` of this process is."""
        raise NotImplementedError

    async def play(self, start_ns: int) -> None:
        """Act on the schedule, warm-up included."""
        schedule = Schedule.of(
            start_ns=start_ns,
            rate=self.rate(),
            seconds=self.seconds(),
            part=self.order.part,
            parts=self.order.parts,
        )
        late = self.tally.late
        number = 0
        with Ticker(schedule) as ticker:
            while number < schedule.total:
                await ticker.tick()
                due = schedule.due(time.monotonic_ns())
                while number < due:
                    scheduled_ns = schedule.at_ns(number)
                    late.end(scheduled_ns)
                    self.act(number, scheduled_ns)
                    number += 1

    async def finish(self) -> None:
        """Wait for what is still under way, but not for ever."""
        give_up = time.monotonic() + CATCH_UP_S
        while self.tally.missing and time.monotonic() < give_up:
            await asyncio.sleep(0.02)

    def share(self, total: int) -> range:
        """The numbers from 0 to `total` that are this process's."""
        return range(self.order.part, total, self.order.parts)

    def name(self, number: int) -> str:
        return f"load-{number}"

    def room(self, number: int) -> str:
        """Rooms of a run are its own: the seed is in their names, and the server's are not kept."""
        return f"bench-{self.plan.seed}-{number}"

    async def open_all(self, rooms: Iterable[str | None], *, first: int = 0) -> list[Any]:
        """Open a client for each of `rooms`, some at a time.

        Arguments:
            rooms: what each client joins; None: nothing.
            first: number of the first, for the names.
        """
        gate = asyncio.Semaphore(HANDSHAKES_AT_ONCE)

        async def opened(number: int, room: str | None) -> Client:
            async with gate:
                return await self.open_one(self.name(number), room)

        opening: list[Awaitable[Client]] = [
            opened(first + number, room) for number, room in enumerate(rooms)
        ]
        clients = await asyncio.gather(*opening)
        self.clients += clients
        return list(clients)

    async def open_one(self, name: str, room: str | None) -> Client:
        """Open a client, if need be after some tries."""
        for _ in range(TRIES - 1):
            client: Client = self.connect(self.tally, name)
            try:
                await client.open(self.order.url, room)
            except (OSError, TimeoutError):
                # A crowd at the door: some are told to come again. That is in the report.
                self.tally.errors["came again"] += 1
                client.leaving = True
                client.disconnect()
                await asyncio.sleep(self.random.uniform(0, RETRY_S))
            else:
                self.tally.placed += 1
                return client
        client = self.connect(self.tally, name)
        await client.open(self.order.url, room)
        self.tally.placed += 1
        return client


@dataclass(frozen=True)
class Scenario:
    """A scenario, for its command.

    Attributes:
        plan: its settings.
        load: what the generators do.
        event: the series that its rate, its latencies and the CPU an event are about.
        peers: who can be measured beside it.
        climbs: whether its plan has a `rate` that can be raised.
        until_over: the measured time ends when all is done, not with `seconds`.
        measure: instead of `bench.stage.measure`, where one server is not enough.
        extras: further figures, from plan and outcome: name -> value.
    """

    plan: type[Plan]
    load: type[Load]
    event: str
    peers: Sequence[str] = ()
    climbs: bool = False
    until_over: bool = False
    measure: Callable[..., Any] | None = None
    extras: Callable[[Any, Any], dict[str, float]] = field(default=lambda _plan, _row: {})
