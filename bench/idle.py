"""Players who do nothing: the memory and the CPU of N joined sessions.

    python -m bench.idle                        5,000 sessions in rooms of 100, measured for 30 s
    python -m bench.idle --players 10000

Memory is how much larger the server's resident size is with the sessions than before they came. CPU
is what keep-alive costs. The kernel's memory for their sockets belongs to no process, so these
figures do not include it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from msgspec import Meta

from bench.command import main
from bench.peers import PEERS
from bench.result import ServerResult
from bench.scenario import ClientCount, Load, Plan, Scenario


class Idle(Plan, frozen=True, kw_only=True):
    """Sessions, each in a room."""

    seconds: Annotated[float, Meta(ge=0.2, le=3600, description="seconds measured")] = 30.0
    players: Annotated[ClientCount, Meta(description="sessions")] = 5000
    members: Annotated[
        int, Meta(ge=0, le=5000, description="members of a room; 0: sessions join no room")
    ] = 100

    def sessions(self) -> int:
        return self.players


class IdleLoad(Load):
    """Players who join a room and then do nothing."""

    plan: Idle

    async def prepare(self) -> None:
        size = self.plan.members
        await self.open_all(
            self.room(number // size) if size else None for number in self.share(self.plan.players)
        )

    async def play(self, start_ns: int) -> None:
        wait_s = (start_ns - time.monotonic_ns()) / 1e9
        await asyncio.sleep(wait_s + self.plan.warmup + self.plan.seconds)


def extras(_: Idle, outcome: ServerResult) -> dict[str, float]:
    """Return how many sessions joined a second."""
    return {"joins/s": outcome.clients / outcome.ready_s}


SCENARIO = Scenario(plan=Idle, load=IdleLoad, event="nothing", peers=tuple(PEERS), extras=extras)

if __name__ == "__main__":
    main("idle")
