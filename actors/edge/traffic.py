"""What the clients of one address ask of the node together.

A session may send a hundred requests a second, and one address may have thousands of sessions. So
an address has limits of its own, or it would take all that the node can do.
"""

from __future__ import annotations

import random
from typing import Final

from actors.edge.rules.bucket import Bucket
from actors.edge.settings import SessionSettings
from protocol.errors import BUSY, RATE_LIMITED, RequestError

ADDRESS_BUSY: Final = RequestError(BUSY, "too many requests of its address are being answered")
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 0.5


class Traffic:
    """One address: its budget of requests, and how many of them are under way.

    Attributes:
        under_way: requests that are being answered.
        handed: requests that were given to their sessions in `turn` of the dispatcher; the sessions
            may not have handled them yet.
    """

    __slots__ = ("_requests", "handed", "turn", "under_way")

    def __init__(self, settings: SessionSettings) -> None:
        self._requests = Bucket(settings.address_messages_per_s, settings.address_messages_burst)
        self.under_way = 0
        self.handed = 0
        self.turn = 0

    def hand(self, turn: int) -> None:
        """One more request is given to its session, in this turn of the dispatcher."""
        if self.turn != turn:
            self.turn, self.handed = turn, 0
        self.handed += 1

    def admit(self, now: float, cost: int) -> bool:
        """Whether a request is within the budget; if so, it counts."""
        return self._requests.take(now, cost)

    def over(self, now: float, cost: int) -> RequestError:
        """Return what a request is refused with that was not admitted."""
        retry_in_s = self._requests.ready_in(now, cost)
        return RequestError(RATE_LIMITED, "its address sends too much", retry_in_s=retry_in_s)

    def idle(self, now: float) -> bool:
        """Whether the address can be forgotten."""
        return not self.under_way and self._requests.full(now)


def read_next_in(_now: float) -> float:
    """Return in how many seconds a client is read from again whose address sends too much.

    To read and refuse costs nearly as much as to answer, so its clients are read from seldom, and
    at random times, or all of them would come back together.
    """
    return random.uniform(_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S)
