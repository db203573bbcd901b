"""Players who do nothing: the memory and the CPU of N joined sessions.

    python -m bench.idle                        5,000 sessions in rooms of 100, looked at for 30 s
    python -m bench.idle --players 10000

Memory is the server's resident size with the sessions less that without them, after they have all
joined. CPU is what keep-alive costs. What the kernel keeps for their sockets is in no process's
memory and not in these figures.
"""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from msgspec import Meta

from bench.command import main
from bench.peers import PEERS
from bench.result import ServerResult
from bench.scenario import Count, Load, Plan, Scenario


class Idle(Plan, frozen=True, kw_only=True):
    """Sessions, each in a room."""

    seconds: Annotated[float, Meta(ge=0.2, le=3600, description="looked at for so long")] = 30.0
    players: Annotated[Count, Meta(description="sessions")] = 5000
    members: Annotated[
        int, Meta(ge=0, le=5000, description="of a room; 0: sessions join nothing")
    ] = 100

    def sessions(self) -> int:
        return self.players


class IdleLoad(Load):
    """Players who come and sit."""

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
    """How fast they came."""
    return {"joins/s": outcome.clients / outcome.ready_s}


SCENARIO = Scenario(plan=Idle, load=IdleLoad, event="nothing", peers=tuple(PEERS), extras=extras)

if __name__ == "__main__":
    main("idle")
