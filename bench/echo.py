"""Echo: requests that are answered at once, through session, limits and codec.

    python -m bench.echo                              5,000 pings a second over 100 connections
    python -m bench.echo --rate 0                     as fast as it goes: each reply brings the next
    python -m bench.echo --against trio-websocket     compared with a bare echo server

A ping is decoded, validated, counted against the session's limits, and answered by the session
actor. Peers echo a message of the same size. With `--rate 0` each connection sends its next request
when the last one is answered. That finds the highest throughput, but its latencies leave out how
long a request waits to be sent.
"""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from msgspec import Meta

from bench.client import Client
from bench.command import main
from bench.peers import PEERS
from bench.scenario import ClientCount, Load, Plan, Scenario, unlimited
from bench.tally import Series


class EchoPlan(Plan, frozen=True, kw_only=True):
    """Requests at a rate over connections."""

    rate: Annotated[
        float,
        Meta(ge=0, le=1_000_000, description="requests a second; 0: the next after each reply"),
    ] = 5000.0
    connections: Annotated[ClientCount, Meta(description="sessions that take turns to ask")] = 100
    idle: Annotated[int, Meta(ge=0, le=19_000, description="further sessions that do nothing")] = 0

    def sessions(self) -> int:
        return self.connections + self.idle

    def needs(self) -> list[str]:
        each = self.rate / self.connections if self.rate else 1e9
        return super().needs() + unlimited(each)

    def intended(self) -> float | None:
        return self.rate or None


class Again(Series):
    """Counts a reply in another series, then sends the client's next request."""

    __slots__ = ("client", "series")

    def __init__(self, series: Series, client: Client) -> None:
        self.series = series
        self.client = client

    def expect(self, scheduled_ns: int, count: int = 1) -> None:
        self.series.expect(scheduled_ns, count)

    def end(self, scheduled_ns: int) -> None:
        self.series.end(scheduled_ns)
        now = time.monotonic_ns()
        if now < self.series.to_ns:
            self.client.echo(self, now)


class EchoLoad(Load):
    """Sessions that take turns to ask."""

    plan: EchoPlan

    async def prepare(self) -> None:
        self.asking = await self.open_all(None for _ in self.share(self.plan.connections))
        await self.open_all((None for _ in self.share(self.plan.idle)), first=1_000_000)
        self.replies = self.tally["replies"]

    def act(self, number: int, scheduled_ns: int) -> None:
        self.asking[number % len(self.asking)].echo(self.replies, scheduled_ns)

    async def play(self, start_ns: int) -> None:
        if self.plan.rate:
            await super().play(start_ns)
            return
        await asyncio.sleep((start_ns - time.monotonic_ns()) / 1e9)
        for client in self.asking:
            client.echo(Again(self.replies, client), time.monotonic_ns())
        await asyncio.sleep(self.plan.warmup + self.plan.seconds)


SCENARIO = Scenario(plan=EchoPlan, load=EchoLoad, event="replies", peers=tuple(PEERS), climbs=True)

if __name__ == "__main__":
    main("echo")
