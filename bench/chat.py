"""Chat: messages that are answered once they are durable, in rooms of many sizes.

    python -m bench.chat                         2,000 sends a second in rooms of 2 to 100
    python -m bench.chat --rate 10000 --small    rooms of 2 to 5, where sends outweigh deliveries

An ack says that the transaction with the message has committed. As in life, most rooms are small
and a few are large. All rooms are equally lively, so that a send reaches 14 members on average.
Deliveries to the members are counted as well.
"""

from __future__ import annotations

import itertools
from typing import Annotated

from msgspec import Meta

from bench.client import MIN_BODY
from bench.command import main
from bench.scenario import ClientCount, Load, Plan, Scenario, unlimited

SIZES = (2, 2, 2, 2, 3, 3, 4, 5, 8, 12, 20, 100)
SMALL = (2, 2, 3, 5)


class ChatPlan(Plan, frozen=True, kw_only=True):
    """Sends at a rate, spread evenly over the players."""

    rate: Annotated[float, Meta(ge=0.1, le=1_000_000, description="sends a second")] = 2000.0
    players: Annotated[ClientCount, Meta(description="players, each in one room")] = 978
    small: Annotated[bool, Meta(description="only rooms of 2, 2, 3 and 5, in turn")] = False
    body: Annotated[int, Meta(ge=MIN_BODY, le=4096, description="bytes of a message's text")] = 100

    def sessions(self) -> int:
        return self.players

    def needs(self) -> list[str]:
        return super().needs() + unlimited(self.rate / self.players)

    def intended(self) -> float | None:
        return self.rate

    def rooms(self) -> list[int]:
        """Return the sizes of all rooms; together they have room for exactly all players."""
        sizes, left, number = [], self.players, 0
        cycle = SMALL if self.small else SIZES
        while left:
            sizes.append(min(left, cycle[number % len(cycle)]))
            left -= sizes[-1]
            number += 1
        return sizes


class ChatLoad(Load):
    """Messages to rooms drawn at random, whose members take turns to speak."""

    plan: ChatPlan

    async def prepare(self) -> None:
        sizes = list(enumerate(self.plan.rooms()))[self.order.part :: self.order.parts]
        names = [self.room(number) for number, size in sizes for _ in range(size)]
        clients = iter(await self.open_all(names))
        self.rooms = [
            (self.room(number), size, itertools.cycle([next(clients) for _ in range(size)]))
            for number, size in sizes
        ]
        self.deliveries = self.tally["deliveries"]

    def act(self, _: int, scheduled_ns: int) -> None:
        room, size, speakers = self.random.choice(self.rooms)
        next(speakers).say(room, scheduled_ns, self.plan.body)
        self.deliveries.expect(scheduled_ns, size)


SCENARIO = Scenario(plan=ChatPlan, load=ChatLoad, event="acks", climbs=True)

if __name__ == "__main__":
    main("chat")
