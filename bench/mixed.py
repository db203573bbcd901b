"""A day at a game: players come, talk, play, change rooms and go, all at once.

    python -m bench.mixed                        1,000 players, 1,000 actions a second
    python -m bench.mixed --rate 3000 --comes 10

Each action is drawn by weight:

- a line of chat, an input to a match, or a ping;
- a player comes, joins a room and perhaps a match;
- a player goes, half of them without closing their session;
- a player changes rooms.

As many players come as go, so that their number stays about the same. An action ends with its last
reply, so its latency counts until then.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bench.client import SeenMessage, marked
from bench.command import main
from bench.games import GOAL
from bench.matches import Grid, Player
from bench.scenario import (
    CATCH_UP_S,
    HANDSHAKES_AT_ONCE,
    ClientCount,
    Load,
    Plan,
    Scenario,
    unlimited,
)

BODY_BYTES = 60
SEATS = 8
HZ = 20.0
Weight = Annotated[float, Meta(ge=0, le=1000)]


class Mixed(Plan, frozen=True, kw_only=True):
    """Players and what they do."""

    rate: Annotated[float, Meta(ge=0.1, le=1_000_000, description="actions a second")] = 1000.0
    players: Annotated[ClientCount, Meta(description="players at the start")] = 1000
    room_size: Annotated[ClientCount, Meta(description="players in a room, on average")] = 20
    playing: Annotated[
        float, Meta(ge=0, le=1, description="share of the players who join a match")
    ] = 0.4
    chats: Annotated[Weight, Meta(description="weight of lines of chat")] = 30.0
    inputs: Annotated[Weight, Meta(description="weight of inputs to matches")] = 55.0
    pings: Annotated[Weight, Meta(description="weight of pings")] = 8.0
    comes: Annotated[Weight, Meta(description="weight of players who come; as many go")] = 2.0
    hops: Annotated[Weight, Meta(description="weight of changes of room")] = 3.0

    def sessions(self) -> int:
        # A player who left without closing still has a session for a minute, but no connection.
        return self.players + round(self.rate)

    def needs(self) -> list[str]:
        needs = [*super().needs(), *unlimited(self.rate / self.players * 4)]
        needs.append("games.bench=bench.games:Arena20")
        if self.players * self.playing > 900 * SEATS:
            needs.append("matches.max_matches=100000")
        return needs

    def intended(self) -> float | None:
        return self.rate


class Table:
    """A match and its seats, as this process knows them."""

    def __init__(self, match: str, grid: Grid) -> None:
        self.match = match
        self.grid = grid
        self.taken = 0
        self.present: set[Guest] = set()


class Guest(Player):
    """A player in a room, and perhaps in a match."""

    room = 0
    table: Table | None = None
    under_way = 0
    hopping = False

    def pushed(self, frame: SeenMessage) -> None:
        if frame.op == "match.ended":
            self.table = None
        else:
            super().pushed(frame)


class MixedLoad(Load):
    """The players of this process. They share matches with each other, and rooms with everyone."""

    plan: Mixed

    async def prepare(self) -> None:
        self.here: list[Guest] = []
        self.tables: list[Table] = []
        self.founding = asyncio.Lock()
        self.tasks: set[asyncio.Task[None]] = set()
        self.rooms = max(2, self.plan.players // self.plan.room_size)
        self.names = itertools.count(self.order.part, self.order.parts)
        plan = self.plan
        self.weights = (plan.chats, plan.inputs, plan.pings, plan.comes, plan.comes, plan.hops)
        self.kinds: list[tuple[str, Callable[[int], Awaitable[None]]]] = [
            ("chats", self.chat), ("inputs", self.input), ("pings", self.ping),
            ("comes", self.come), ("goes", self.go), ("hops", self.hop),
        ]  # fmt: skip
        gate = asyncio.Semaphore(HANDSHAKES_AT_ONCE)

        async def first(number: int) -> None:
            async with gate:
                await self.come(number)
                self.tally.placed += 1

        await asyncio.gather(*(first(number) for number in self.share(plan.players)))
        self.tally.gauges["clients"] = len(self.here)

    def act(self, number: int, scheduled_ns: int) -> None:
        ((kind, action),) = self.random.choices(self.kinds, self.weights)
        both = self.tally["actions"], self.tally[kind]
        for series in both:
            series.expect(scheduled_ns)

        async def perform() -> None:
            try:
                await action(number)
            except (OSError, TimeoutError) as error:
                self.tally.errors[f"{kind}: {type(error).__name__}"] += 1
            else:
                for series in both:
                    series.end(scheduled_ns)

        task = asyncio.create_task(perform())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # --- what players do -------------------------------------------------------------------------

    def any_guest(self, *, playing: bool = False) -> Guest:
        """Return a random player who is here.

        With `playing` it is one in a match, unless ten tries find none.
        """
        for _ in range(10):
            guest = self.random.choice(self.here)
            if guest.table is not None or not playing:
                return guest
        return self.random.choice(self.here)

    async def ask(self, guest: Guest, op: str, **fields: Any) -> msgspec.Raw:
        """Send a request for a guest; return the data of the reply."""
        guest.under_way += 1
        try:
            return await guest.request(op, **fields)
        finally:
            guest.under_way -= 1

    async def ping(self, _: int) -> None:
        await self.ask(self.any_guest(), "ping")

    async def chat(self, _: int) -> None:
        guest = self.any_guest()
        body = marked(time.monotonic_ns(), BODY_BYTES)
        await self.ask(guest, "room.send", room=self.room(guest.room), body=body)

    async def input(self, number: int) -> None:
        guest = self.any_guest(playing=True)
        if guest.table is None:
            await self.ping(number)
            return
        guest.seq += 1
        push = {"x": self.random.uniform(-1, 1), "y": self.random.uniform(-1, 1)}
        await self.ask(guest, "match.input", match=guest.match, seq=guest.seq, input=push)

    async def hop(self, number: int) -> None:
        guest = self.any_guest()
        if guest.hopping:
            await self.ping(number)
            return
        guest.hopping = True
        old = guest.room
        new = (old + self.random.randrange(1, self.rooms)) % self.rooms
        await self.ask(guest, "room.join", room=self.room(new))
        # Set before the old room is left, so that chat from here on goes to the new one.
        guest.room = new
        await self.ask(guest, "room.leave", room=self.room(old))
        guest.hopping = False

    async def come(self, _: int) -> None:
        guest = Guest(self.tally, self.name(next(self.names)))
        guest.room = self.random.randrange(self.rooms)
        await guest.open(self.order.url, self.room(guest.room))
        if self.random.random() < self.plan.playing:
            await self.sit_down(guest)
        self.here.append(guest)

    async def go(self, number: int) -> None:
        if len(self.here) < 2:
            await self.come(number)
            return
        guest = self.here.pop(self.random.randrange(len(self.here)))
        while guest.under_way:
            await asyncio.sleep(0.01)
        guest.leaving = True
        table, polite = guest.table, self.random.random() < 0.5
        if table is not None:
            table.present.discard(guest)
            if not table.present and table in self.tables:
                self.tables.remove(table)  # the server will abandon it
            if polite:
                await guest.request("match.leave", match=table.match)
                table.taken -= 1
        if polite:
            await guest.request("session.close")
        else:
            guest.disconnect()

    async def sit_down(self, guest: Guest) -> None:
        """Take a free seat in a match for a player, or create a match.

        The server keeps the seat of a player who left without a word, so it counts as taken here
        too.
        """
        async with self.founding:
            free = [table for table in self.tables if table.taken < SEATS]
            if free:
                table = free[0]
            else:
                create = {"game": "bench", "params": {"goal": GOAL}}
                created = msgspec.msgpack.decode(await guest.request("match.create", **create))
                grid = Grid(HZ, self.tally["ticks"], self.tally["states"])
                table = Table(created["match"], grid)
                self.tables.append(table)
            table.taken += 1
            guest.table, guest.grid, guest.match = table, table.grid, table.match
            await guest.request("match.join", match=table.match)
            table.present.add(guest)

    async def finish(self) -> None:
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=CATCH_UP_S)
        self.clients = list(self.here)


SCENARIO = Scenario(plan=Mixed, load=MixedLoad, event="actions", climbs=True)

if __name__ == "__main__":
    main("mixed")
