"""What a scenario consists of: its plan (the settings) and its load (what each generator does).

The plan is a frozen Struct. The command line, the orders to the generators and the settings in the
report are all made from it.
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
"""Seconds after the last event in which late replies are still awaited."""

ClientCount = Annotated[int, Meta(ge=1, le=200_000)]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that every scenario has. Each field is an option of its command."""

    seconds: Annotated[float, Meta(ge=0.2, le=172_800, description="seconds measured")] = 10.0
    warmup: Annotated[
        float, Meta(ge=0, le=600, description="seconds of load before the measurement")
    ] = 2.0
    seed: Annotated[int, Meta(description="seed of everything that is drawn at random")] = 1

    def sessions(self) -> int:
        """Return the connections at once, of all generators together."""
        return 0

    def crowd(self) -> int:
        """Return the highest number of sessions on one topic."""
        members: int = getattr(self, "members", 0)
        return members

    def needs(self) -> list[str]:
        """Return the settings that Greenroom needs for this load, beyond its defaults."""
        return more_connections(self.sessions()) + crowds(self.crowd())

    def intended(self) -> float | None:
        """Return the events a second that the plan asks for; None: it names no rate."""
        return None

    def at_rate(self, rate: float) -> Plan:
        """Return the same plan at another rate, for a climb."""
        return msgspec.structs.replace(self, rate=rate)


def more_connections(sessions: int) -> list[str]:
    """Return the settings for so many connections; none if the default allows them."""
    return [f"wire.max_connections={sessions + 1000}"] if sessions > 9_000 else []


def unlimited(messages_s: float) -> list[str]:
    """Return the settings for sessions that each send so many messages a second.

    There are none if the default limits allow that.
    """
    if messages_s <= 80:  # the default limit is 100 on average
        return []
    return ["sessions.messages_per_s=0", "sessions.bytes_per_s=0"]


def crowds(members: int) -> list[str]:
    """Return the settings for topics of so many members.

    A message to more than 100 members counts against budgets, which these settings take away.
    """
    if members <= 100:
        return []
    return [
        "sessions.deliveries_per_s=0",
        "sessions.address_deliveries_per_s=0",
        "sessions.deliveries_all_per_s=0",
    ]


class GeneratorOrder(msgspec.Struct, frozen=True):
    """What one generator process is to do."""

    scenario: str
    """Name of the scenario's module."""
    peer: str
    """Name of the module with the peer's driver; empty: Greenroom."""
    url: str
    part: int
    """Number of this process, from 0."""
    parts: int
    """Number of generator processes."""
    plan: msgspec.Raw
    """The scenario's plan in JSON."""


class Load:
    """What one generator process does. Scenarios subclass it.

    Attributes:
        connect: makes a client of the server under test: `connect(tally, name)`.
        random: the source of random numbers, seeded differently in each process.
    """

    def __init__(
        self, order: GeneratorOrder, plan: Any, tally: Tally, connect: Callable[..., Any]
    ) -> None:
        self.order = order
        self.plan = plan
        self.tally = tally
        self.connect = connect
        self.random = random.Random(plan.seed * 1000 + order.part)
        self.clients: list[Any] = []

    async def prepare(self) -> None:
        """Do everything that comes before the warm-up, such as opening sessions."""

    def rate(self) -> float:
        """Return the events a second of all generators together."""
        return float(self.plan.rate)

    def seconds(self) -> float:
        """Return for how many seconds events are due, warm-up included."""
        return float(self.plan.warmup + self.plan.seconds)

    def act(self, number: int, scheduled_ns: int) -> None:
        """Begin event `number` (from 0) of this process, due at `scheduled_ns`."""
        raise NotImplementedError

    async def play(self, start_ns: int) -> None:
        """Begin each event when it is due, from `start_ns` to the end, warm-up included."""
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
        """Wait for replies that are still missing, at most `CATCH_UP_S` seconds."""
        give_up = time.monotonic() + CATCH_UP_S
        while self.tally.missing and time.monotonic() < give_up:
            await asyncio.sleep(0.02)

    def share(self, total: int) -> range:
        """Return this process's share of the numbers from 0 to `total` - 1."""
        return range(self.order.part, total, self.order.parts)

    def name(self, number: int) -> str:
        return f"load-{number}"

    def room(self, number: int) -> str:
        """Return the name of a room.

        The seed is part of it, so that runs with different seeds never share a room.
        """
        return f"bench-{self.plan.seed}-{number}"

    async def open_all(self, rooms: Iterable[str | None], *, first: int = 0) -> list[Any]:
        """Open a client for each of `rooms`, `HANDSHAKES_AT_ONCE` at a time.

        Arguments:
            rooms: the room that each client joins; None: it joins none.
            first: number of the first client, for the names.
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
        """Open a client, in up to `TRIES` attempts."""
        for _ in range(TRIES - 1):
            client: Client = self.connect(self.tally, name)
            try:
                await client.open(self.order.url, room)
            except (OSError, TimeoutError):
                # A busy server tells some clients to come again. The report counts them.
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
    """What the command line needs to know about a scenario.

    Attributes:
        plan: the class of its settings.
        load: the class that says what the generators do.
        event: the series that the rate, the latencies and the CPU for one event refer to.
        peers: names of the peers that can be put under the same load.
        climbs: whether its plan has a `rate` that can be raised.
        until_over: whether the measured time ends when all is done, before `seconds` are over.
        measure: replaces `bench.stage.measure` for a scenario that needs several servers.
        extras: makes further columns of the table from plan and outcome: heading -> figure.
    """

    plan: type[Plan]
    load: type[Load]
    event: str
    peers: Sequence[str] = ()
    climbs: bool = False
    until_over: bool = False
    measure: Callable[..., Any] | None = None
    extras: Callable[[Any, Any], dict[str, float]] = field(default=lambda _plan, _row: {})
