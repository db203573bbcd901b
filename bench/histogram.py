"""A histogram of latencies with a bounded error, cheap enough for every single event.

It is log-linear like HdrHistogram (http://hdrhistogram.org): each power of two is cut into 128
buckets of equal width. So 3,840 counters cover 1 microsecond to 19 hours, and a value is exact to
within 1/128 of itself (0.8 %). The package `hdrhistogram` would take 1.1 us a value, while this
takes 0.2 us. In a generator of 200,000 events a second, that is 22 % of a core against 4 %.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

SPLIT_BITS = 7
SPLIT = 1 << SPLIT_BITS
"""Buckets for each power of two."""
MAX_VALUE = (1 << 36) - 1
"""Microseconds: 19 hours. A longer value counts as this."""
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
    """Return the highest value of a bucket.

    Percentiles use it, so that none is reported as lower than it is.
    """
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
        """Count a value in microseconds."""
        # This is `bucket_of` without the call, which would be a third of the cost.
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
        """Return the microseconds that `percent` of all values do not exceed; 0 if it is empty."""
        return _percentile(list(accumulate(self.counts)), percent)

    def percentiles_ms(self) -> dict[str, float]:
        """Return p50, p90, p99, p99.9 and max in milliseconds; {} if nothing was counted."""
        sums = list(accumulate(self.counts))
        if not sums[-1]:
            return {}
        return {name: _percentile(sums, percent) / 1000 for name, percent in PERCENTILES.items()}

    def distribution(self) -> Iterator[tuple[float, float]]:
        """Yield (share of all values, milliseconds) from the lowest value to the highest."""
        total, seen = self.total, 0
        for bucket, count in enumerate(self.counts):
            if count:
                seen += count
                yield seen / total, highest_in(bucket) / 1000


def _percentile(sums: Sequence[int], percent: float) -> int:
    """Return a percentile; `sums` has for each bucket the count of it and all below."""
    rank = math.ceil(sums[-1] * percent / 100)
    return highest_in(bisect_left(sums, max(1, rank))) if sums[-1] else 0


def merged(parts: Iterable[Mapping[int, int]]) -> LatencyHistogram:
    """Return one histogram of everything that several counted, each given as `sparse` did."""
    whole = LatencyHistogram()
    for part in parts:
        whole.merge(part)
    return whole
