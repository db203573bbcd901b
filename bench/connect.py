"""A storm of players: connect, open a session, join a room, all at once or at a rate.

    python -m bench.connect                     5,000 players as fast as the server lets them in
    python -m bench.connect --rate 1000         a thousand a second
    python -m bench.connect --members 0         sessions alone, without rooms

A latency counts from the moment a player was due to start until the last answer has come. In
between are TCP, the WebSocket handshake, `session.open` and `room.join`. Everyone in a room is told
who joins, so the size of rooms matters. Without --rate, --at-once players are on their way at any
time, and the next one starts when one of them has arrived.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from bench.command import main
from bench.peers import PEERS
from bench.scenario import ClientCount, Load, Plan, Scenario

OPENED = "joins"


class Connect(Plan, frozen=True, kw_only=True):
    """Players who come and stay. The measured time ends when the last one has arrived."""

    seconds: Annotated[
        float, Meta(ge=0.2, le=3600, description="longest time in which players come")
    ] = 30.0
    warmup: Annotated[float, Meta(ge=0, le=0, description="always 0: there is no warm-up")] = 0.0
    players: Annotated[ClientCount, Meta(description="players who come, at most")] = 5000
    rate: Annotated[
        float, Meta(ge=0, le=100_000, description="players a second; 0: as many as --at-once lets")
    ] = 0.0
    at_once: Annotated[
        ClientCount, Meta(description="players on their way at the same time, if --rate is 0")
    ] = 256
    members: Annotated[
        int, Meta(ge=0, le=5000, description="members of a room; 0: sessions join no room")
    ] = 100

    def sessions(self) -> int:
        return self.players

    def intended(self) -> float | None:
        return self.rate or None


class ConnectLoad(Load):
    """Players who connect, open a session and join a room."""

    plan: Connect

    def seconds(self) -> float:
        return min(self.plan.seconds, self.plan.players / self.plan.rate)

    async def play(self, start_ns: int) -> None:
        self.joins = self.tally[OPENED]
        self.tasks: set[asyncio.Task[None]] = set()
        if self.plan.rate:
            await super().play(start_ns)
            await asyncio.wait(self.tasks, timeout=self.plan.seconds)
        else:
            await asyncio.sleep((start_ns - time.monotonic_ns()) / 1e9)
            ours = iter(self.share(self.plan.players))
            each = range(max(1, self.plan.at_once // self.order.parts))
            async with asyncio.timeout(self.plan.seconds):
                await asyncio.gather(*(self.one_after_the_other(ours) for _ in each))
        self.tally.gauges["clients"] = len(self.clients)

    def act(self, number: int, scheduled_ns: int) -> None:
        if number < len(self.share(self.plan.players)):
            player = self.order.part + number * self.order.parts
            self.tasks.add(asyncio.create_task(self.come(player, scheduled_ns)))

    async def one_after_the_other(self, ours: Iterator[int]) -> None:
        for player in ours:
            await self.come(player, time.monotonic_ns())

    async def come(self, player: int, scheduled_ns: int) -> None:
        """Bring one player in, and count it from `scheduled_ns`."""
        self.joins.expect(scheduled_ns)
        client = self.connect(self.tally, self.name(player))
        room = self.room(player // self.plan.members) if self.plan.members else None
        try:
            await client.open(self.order.url, room)
        except (OSError, TimeoutError) as error:
            self.tally.errors[type(error).__name__] += 1
        else:
            self.clients.append(client)
            self.joins.end(scheduled_ns)


SCENARIO = Scenario(
    plan=Connect,
    load=ConnectLoad,
    event=OPENED,
    peers=tuple(PEERS),
    climbs=True,
    until_over=True,
)

if __name__ == "__main__":
    main("connect")
