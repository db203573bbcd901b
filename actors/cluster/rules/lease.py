"""The lease: how long a node may believe that what it holds is its own.

A node has two ways to renew its lease. The usual one is a heartbeat that Valkey has taken. The
other one is for times when Valkey is away for everybody: PostgreSQL, the register, excuses a node
if no other node is known to reach Valkey. A node may be buried only when both are over, by the
clock of the store that has given them, and when the register has heard of neither for a lease. So
the node, which counts from *before* it asked, has always stopped by then.
"""

from __future__ import annotations

import math

import msgspec

from actors.cluster.rules.slot_table import GENERATION_BITS


class Timing(msgspec.Struct, frozen=True):
    """The times of a cluster, in seconds. All follow from the lease; all nodes have the same.

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
        """The time between two reports to the register; half of it while in doubt."""
        return 2 * self.beat_s

    @property
    def margin_s(self) -> float:
        """A node stops its actors so long before its lease is over.

        It covers the time that the stop takes, and steps of the stores' clocks (see `gap_s`).
        """
        return self.lease_s * 0.3

    @property
    def gap_s(self) -> float:
        """If Valkey heard nobody for so long, then its clock was moved, or it was away.

        Until a whole lease later nobody is buried. It is less than `margin_s`, so a step that is
        too short to be noticed does no harm.
        """
        return self.lease_s / 4

    @property
    def patience_s(self) -> float:
        """How long an answer of a store is waited for. It counts from when it was asked for."""
        return self.lease_s / 2

    @property
    def fresh_s(self) -> float:
        """A node whose last heartbeat is no older than this reaches Valkey now.

        A report may be `report_s` old, and the heartbeat in it `beat_s`. If Valkey dies, this time
        must have passed for the others when a node's own lease, less the margin, comes to its end.
        """
        return self.lease_s * 0.45


class Lease:
    """One node's lease, on its own monotonic clock.

    Arguments:
        timing: the times of the cluster.
        asked_s: when the heartbeat was sent that began it.
    """

    __slots__ = ("_timing", "excused_s", "lapsed", "renewed_s")

    def __init__(self, timing: Timing, asked_s: float) -> None:
        self._timing = timing
        self.renewed_s = asked_s
        self.excused_s = -math.inf
        self.lapsed = False

    @property
    def until_s(self) -> float:
        """The end of the lease, less the margin."""
        timing = self._timing
        return max(self.renewed_s, self.excused_s) + timing.lease_s - timing.margin_s

    def holds(self, now_s: float) -> bool:
        """Whether the lease holds. Once it has lapsed it never holds again."""
        if now_s >= self.until_s:
            self.lapsed = True
        return not self.lapsed

    def renew(self, asked_s: float, now_s: float) -> None:
        """Valkey has taken a heartbeat that was sent at `asked_s`. Too late is too late."""
        if self.holds(now_s):
            self.renewed_s = max(self.renewed_s, asked_s)

    def excuse(self, asked_s: float, now_s: float) -> None:
        """The register has excused this node, which had asked at `asked_s`."""
        if self.holds(now_s):
            self.excused_s = max(self.excused_s, asked_s)

    def doubtful(self, now_s: float) -> bool:
        """Whether heartbeats have failed, so that the register should be asked for an excuse."""
        return now_s - self.renewed_s >= self._timing.report_s


class Contact:
    """Since when a node has reached Valkey without a break, in one generation of its data."""

    __slots__ = ("_timing", "answered_s", "generation", "since_s")

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self.generation = 0
        self.since_s = math.inf
        self.answered_s = -math.inf

    @property
    def base(self) -> int:
        """The least epoch of this generation."""
        return self.generation << GENERATION_BITS

    def answered(self, now_s: float, generation: int) -> None:
        """Valkey has answered."""
        if generation != self.generation or now_s - self.answered_s > self._timing.lease_s / 2:
            self.generation = generation
            self.since_s = now_s
        self.answered_s = now_s

    def held(self, now_s: float) -> bool:
        """Whether it has held for a whole lease, and holds."""
        lease_s = self._timing.lease_s
        return now_s - self.since_s >= lease_s and now_s - self.answered_s <= lease_s / 2
