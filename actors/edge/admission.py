"""Load shedding: a bound on the requests that a node answers at once; others are refused early."""

from __future__ import annotations

import math
import random
from collections.abc import Set as AbstractSet
from typing import Final

from actors.edge.traffic import Traffic
from protocol.http.metrics import Histogram

TARGET_S = 2.0
"""The bound falls while answers take longer than this on average. Their deadline is 5 s."""
LOOK_EVERY_S = 0.25
"""How often the bound is set anew."""
FEWER, MORE = 0.75, 1.5
"""The factors by which the bound falls and rises."""
READS_PER_S = 1_000
"""Reads a second from all refused clients together; more if over 500 of them wait."""
LONGEST_PAUSE_S = 0.5
"""Each refused client is read from after this at the latest, however many there are."""
FLOOR = 512
"""The lowest bound. A node needs some answers to know how long they take, and it does most when it
commits some hundreds of events together."""


KEPT: Final = 1 / 8
FEW: Final = 16
"""This part of the bound is kept for clients of addresses that have fewer requests under way than
that: so the others cannot keep them out, however many they are."""


class Admission:
    """Counts the requests of all sessions of a node that are being answered, and bounds them.

    Without a bound, an overloaded node accepts everything and answers all of it after the deadline,
    which is worth nothing: at three times its capacity of 8,300 sends/s it acknowledged 134/s.

    A bound on requests also bounds latency. By Little's law latency is the number of requests under
    way divided by the node's throughput. The throughput is not known beforehand. So the bound falls
    while answers take longer than `TARGET_S` on average, and then rises again up to `limit`, as
    TCP's congestion window does.

    Arguments:
        limit: the highest bound.
        of_address: how many of these may be of one address; 0: no limit. It falls with the bound.
        rng: spreads the reads from refused clients when there are too many of them.
        sheddable: the ops that may be refused.

    Attributes:
        under_way: requests that are being answered.
        handed: requests given to their sessions in this turn of the dispatcher; the sessions may
            not have handled them yet.
        allowed: the present bound.
        turn: counts the turns of the dispatcher.
        shed: requests that were refused for the bound.
        answer_s: how long answers took.
    """

    __slots__ = (
        "_answers", "_last_read", "_looked_at", "_of_address", "_rng", "_took_s", "allowed",
        "answer_s", "handed", "limit", "shed", "sheddable", "turn", "under_way",
    )  # fmt: skip

    def __init__(
        self,
        limit: int,
        rng: random.Random | None = None,
        *,
        of_address: int = 0,
        sheddable: AbstractSet[str] = frozenset(),
    ) -> None:
        self._of_address = of_address
        self.turn = 0
        self.sheddable = sheddable
        self.limit = self.allowed = limit
        self.under_way = 0
        self.handed = 0
        self.shed = 0
        self._answers = 0
        self._took_s = 0.0
        self._looked_at = -math.inf
        self._last_read = -math.inf  # the latest time given to a refused client
        self._rng = rng or random.Random()
        self.answer_s = Histogram(
            "greenroom_answer_seconds",
            "From a request's turn in its session to its answer, those answered at once left out.",
            (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
        )

    def full(self, *, to_come: bool = False) -> bool:
        """Whether as many requests are under way as may be; `to_come`: `handed` ones included."""
        return self.under_way + (self.handed if to_come else 0) >= self.allowed

    def address_full(self, traffic: Traffic, *, to_come: bool = False) -> bool:
        """Whether a client of this address has to wait, though others may not have to."""
        allowed, of_address = self.allowed, self._of_address
        under_way, theirs = self.under_way, traffic.under_way
        if to_come:
            under_way += self.handed
            if traffic.turn == self.turn:
                theirs += traffic.handed
        if of_address and theirs >= max(1, of_address * allowed // max(of_address, self.limit)):
            return True
        return theirs >= FEW and under_way >= allowed - int(allowed * KEPT)

    def read_next_in(self, now: float) -> float:
        """Plan the next read from a client that was just refused; returns the seconds until then.

        A read, a wait and a send cost some 40 us together, which is most of the cost of a refusal.
        So refused clients are read from one by one, at even intervals. With one pause for all, they
        would come back together, too many at once for a node that was idle in between: offered 8 %
        more than it could do, such a node did a quarter less.

        Returns 0 while the node itself has little to do, so that only the client's own limit was
        reached.
        """
        if self.under_way * 2 <= self.allowed:
            return 0.0
        read_at = max(now, self._last_read + 1 / READS_PER_S)
        if read_at - now > LONGEST_PAUSE_S:
            # There are too many refused clients for even intervals. A random pause spreads them.
            return self._rng.uniform(LONGEST_PAUSE_S / 2, LONGEST_PAUSE_S)
        self._last_read = read_at
        return read_at - now

    def __enter__(self) -> None:
        """Begin a turn of the dispatcher; called by `Dispatcher.enclose`."""

    def __exit__(self, *_: object) -> None:
        self.handed = 0
        self.turn += 1

    def begin(self) -> None:
        """Count a request that is under way now."""
        self.under_way += 1

    def end(self, began_at: float, now: float) -> None:
        """Count a request that was answered. Times are in seconds on one clock."""
        self.under_way -= 1
        self._answers += 1
        self._took_s += now - began_at
        self.answer_s.observe(now - began_at)
        if now - self._looked_at < LOOK_EVERY_S:
            return
        slow = self._took_s > TARGET_S * self._answers
        factor = FEWER if slow else MORE
        self.allowed = max(min(round(self.allowed * factor), self.limit), min(FLOOR, self.limit))
        self._answers, self._took_s, self._looked_at = 0, 0.0, now
