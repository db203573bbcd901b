"""Fan-out: messages to rooms of N members, and what a delivery costs.

    python -m bench.rooms                              20,000 deliveries/s to 4 rooms of 100 python
    -m bench.rooms --rate 80000                 more than a trio-websocket broadcaster can do python
    -m bench.rooms --against socketio --climb   the highest rate, compared with Socket.IO

Greenroom stores each message, and answers it when the transaction has committed. The peers only
pass it on. The rate counts deliveries, over all rooms together.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from bench.client import MIN_BODY
from bench.command import main
from bench.peers import PEERS
from bench.scenario import ClientCount, Load, Plan, Scenario, unlimited


class Rooms(Plan, frozen=True, kw_only=True):
    """Members who take turns to speak."""

    rate: Annotated[float, Meta(ge=1, le=2_000_000, description="deliveries a second")] = 20_000.0
    rooms: Annotated[ClientCount, Meta(description="rooms")] = 4
    members: Annotated[int, Meta(ge=1, le=5000, description="members of a room")] = 100
    body: Annotated[int, Meta(ge=MIN_BODY, le=4096, description="bytes of a message's text")] = 100

    def sessions(self) -> int:
        return self.rooms * self.members

    def needs(self) -> list[str]:
        return super().needs() + unlimited(self.rate / self.members / self.sessions())

    def intended(self) -> float | None:
        return self.rate


class RoomsLoad(Load):
    """Whole rooms: all members of a room are in the same process."""

    plan: Rooms

    def rate(self) -> float:
        return self.plan.rate / self.plan.members

    async def prepare(self) -> None:
        # Member by member over the rooms, so that neighbours in the list speak in different rooms.
        self.places = [
            self.room(number)
            for _ in range(self.plan.members)
            for number in self.share(self.plan.rooms)
        ]
        self.speakers = await self.open_all(self.places)
        self.deliveries = self.tally["deliveries"]

    def act(self, number: int, scheduled_ns: int) -> None:
        turn = number % len(self.speakers)
        self.speakers[turn].say(self.places[turn], scheduled_ns, self.plan.body)
        self.deliveries.expect(scheduled_ns, self.plan.members)


SCENARIO = Scenario(plan=Rooms, load=RoomsLoad, event="deliveries", peers=tuple(PEERS), climbs=True)

if __name__ == "__main__":
    main("rooms")
