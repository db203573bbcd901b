"""How many requests a node answers at once: what comes beyond that is refused while it is cheap."""

from __future__ import annotations

import math
import random
from collections.abc import Set as AbstractSet

from protocol.http.metrics import Histogram

TARGET_S = 2.0
"""If answers take longer on average, too many requests were taken up. Their deadline is 5 s."""
LOOK_EVERY_S = 0.25
FEWER, MORE = 0.75, 1.5
READS_PER_S = 1_000
"""Refused clients are read from so often a second, all together; more often if over 500 wait."""
LONGEST_PAUSE_S = 0.5
"""Each refused client is read from after this at the latest, however many there are."""
FLOOR = 512
"""So many requests are always taken up. Their answers say how long answers take, and a node does
most when it commits some hundreds together."""


class Admission:
    """Counts the requests that are being answered, of all sessions of a node, and bounds them.

    Without a bound a node that is offered more than it can do takes everything up, answers all of
    it after the deadline, and so does nothing: at three times its capacity of 8,300 sends/s it
    acknowledged 134/s. By Little's law a bound is also one on latency, the bound divided by what
    the node can do. That is not known beforehand, so while answers take longer than `TARGET_S` on
    average the bound falls, and rises again to `limit` after (as TCP's congestion window does).

    Arguments:
        limit: the bound, at most.
        rng: for when they are read from, if too many are refused.
        sheddable: the ops that may be refused.

    Attributes:
        under_way: requests that are being answered.
        handed: requests that were given to their sessions since the last turn, which may not have
            looked at them yet.
        allowed: so many may be, now.
        shed: requests refused for this.
        answer_s: how long answers took.
    """

    __slots__ = (
        "_answers", "_last_read", "_looked_at", "_rng", "_took_s", "allowed", "answer_s", "handed",
        "limit", "shed", "sheddable", "under_way",
    )  # fmt: skip

    def __init__(
        self,
        limit: int,
        rng: random.Random | None = None,
        *,
        sheddable: AbstractSet[str] = frozenset(),
    ) -> None:
        self.sheddable = sheddable
        self.limit = self.allowed = limit
        self.under_way = 0
        self.handed = 0
        self.shed = 0
        self._answers = 0
        self._took_s = 0.0
        self._looked_at = -math.inf
        self._last_read = -math.inf  # when the last of those who were refused is read from
        self._rng = rng or random.Random()
        self.answer_s = Histogram(
            "greenroom_answer_seconds",
            "From a request's turn in its session to its answer, those answered at once left out.",
            (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
        )

    def full(self, *, to_come: bool = False) -> bool:
        """Whether as many are under way as may be; with those `to_come`, that were handed on."""
        return self.under_way + (self.handed if to_come else 0) >= self.allowed

    def read_next_in(self, now: float) -> float:
        """Set when a client that was refused is read from next; returns in how many seconds.

        A read, a wait and a send cost some 40 us together, which is most of what a refusal costs
        alone. So those who are refused are read from one by one, at even intervals. If they all
        waited as long they would come back together, too many for a node that has had nothing to do
        meanwhile: offered 8 % more than it could do it did a quarter less.

        0 for one that has too much under way itself while the node has not.
        """
        if self.under_way * 2 <= self.allowed:
            return 0.0
        read_at = max(now, self._last_read + 1 / READS_PER_S)
        if read_at - now > LONGEST_PAUSE_S:
            # There are too many of them for that. They must not come back together either.
            return self._rng.uniform(LONGEST_PAUSE_S / 2, LONGEST_PAUSE_S)
        self._last_read = read_at
        return read_at - now

    def __enter__(self) -> None:
        """A turn begins: for `Dispatcher.enclose`."""

    def __exit__(self, *_: object) -> None:
        self.handed = 0

    def begin(self) -> None:
        """One more is under way."""
        self.under_way += 1

    def end(self, began_at: float, now: float) -> None:
        """One is answered. Times in seconds on one clock."""
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
