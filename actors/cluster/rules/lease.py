"""The lease: how long a node may believe that what it holds is its own.

A node has two ways to renew its lease. The usual one is a heartbeat that Valkey has taken. The
other one is an excuse, for times when Valkey is away for everybody: PostgreSQL, the register,
excuses a node if no other node is a witness that Valkey answers (see `Member.witness`). A node may
be buried only when its heartbeat and its excuse have both run out, each by the clock of the store
that gave it, and when for a whole lease the register has heard of neither. The node itself counts
from *before* it asked, so it has always stopped by then.
"""

from __future__ import annotations

import math

import msgspec

from actors.cluster.rules.slot_table import GENERATION_BITS


class Timing(msgspec.Struct, frozen=True):
    """The times of a cluster, in seconds. All follow from the lease, and all nodes agree on them.

    Attributes:
        lease_s: from a node's last heartbeat to the earliest moment at which it can be buried.
        beats: heartbeats within a lease, at least 10.
    """

    lease_s: float = 4.0
    beats: int = 10

    @property
    def beat_s(self) -> float:
        """The time between two heartbeats. A burial is delayed by up to two of them."""
        return self.lease_s / self.beats

    @property
    def report_s(self) -> float:
        """The time between two reports to the register.

        A node whose heartbeats fail reports twice as often.
        """
        return 2 * self.beat_s

    @property
    def margin_s(self) -> float:
        """How long before the end of its lease a node stops its actors.

        It covers the time that the stop takes, and steps of the stores' clocks (see `gap_s`).
        """
        return self.lease_s * 0.3

    @property
    def gap_s(self) -> float:
        """If Valkey heard nobody for so long, its clock was moved, or it was away.

        Then nobody is buried until a whole lease later. The gap is shorter than `margin_s`, so a
        step of the clock that is too short to be noticed does no harm.
        """
        return self.lease_s / 4

    @property
    def patience_s(self) -> float:
        """How long to wait for an answer of a store, from the question on."""
        return self.lease_s / 2

    @property
    def fresh_s(self) -> float:
        """A node whose last heartbeat is no older than this reaches Valkey now.

        A report may be `report_s` old, and the heartbeat in it `beat_s`, so this must be longer
        than both together. It must be shorter than the lease less the margin: if Valkey dies, a
        node is excused only when the others' heartbeats are older than this, and its own lease must
        last until then.
        """
        return self.lease_s * 0.45


class Lease:
    """One node's lease, on its own monotonic clock.

    Arguments:
        timing: the times of the cluster.
        asked_s: when the heartbeat that began the lease was sent.

    Attributes:
        until_s: the end of the lease, less the margin. It is kept, since each pass of the event
            loop looks at it twice.
    """

    __slots__ = ("_timing", "excused_s", "lapsed", "renewed_s", "until_s")

    def __init__(self, timing: Timing, asked_s: float) -> None:
        self._timing = timing
        self.renewed_s = asked_s
        self.excused_s = -math.inf
        self.lapsed = False
        self.until_s = self._end()

    def _end(self) -> float:
        timing = self._timing
        return max(self.renewed_s, self.excused_s) + timing.lease_s - timing.margin_s

    def holds(self, now_s: float) -> bool:
        """Whether the lease holds. Once it has lapsed it never holds again."""
        if now_s >= self.until_s:
            self.lapsed = True
        return not self.lapsed

    def renew(self, asked_s: float, now_s: float) -> None:
        """Valkey has taken a heartbeat that was sent at `asked_s`. A lapsed lease stays lapsed."""
        if self.holds(now_s):
            self.renewed_s = max(self.renewed_s, asked_s)
            self.until_s = self._end()

    def excuse(self, asked_s: float, now_s: float) -> None:
        """The register has excused this node, which asked at `asked_s`."""
        if self.holds(now_s):
            self.excused_s = max(self.excused_s, asked_s)
            self.until_s = self._end()

    def doubtful(self, now_s: float) -> bool:
        """Whether heartbeats have failed, so that the register should be asked for an excuse."""
        return now_s - self.renewed_s >= self._timing.report_s


class Contact:
    """For how long a node has reached Valkey without a break, in one generation of its data."""

    __slots__ = ("_timing", "answered_s", "generation", "since_s")

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self.generation = 0
        self.since_s = math.inf
        self.answered_s = -math.inf

    @property
    def base(self) -> int:
        """The lowest epoch of this generation."""
        return self.generation << GENERATION_BITS

    def answered(self, now_s: float, generation: int) -> None:
        """Valkey has answered."""
        if generation != self.generation or now_s - self.answered_s > self._timing.lease_s / 2:
            self.generation = generation
            self.since_s = now_s
        self.answered_s = now_s

    def held(self, now_s: float) -> bool:
        """Whether the contact has lasted for a whole lease, and still does."""
        lease_s = self._timing.lease_s
        return now_s - self.since_s >= lease_s and now_s - self.answered_s <= lease_s / 2
