"""A histogram reports each value to within 1/128, and never lower than it was."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from bench.histogram import (
    BUCKETS,
    MAX_VALUE,
    SPLIT,
    LatencyHistogram,
    bucket_of,
    highest_in,
    merged,
)

VALUES = st.integers(0, MAX_VALUE)


@given(VALUES)
def test_a_value_is_told_to_within_a_128th(value: int) -> None:
    told = highest_in(bucket_of(value))
    assert value <= told <= value * (1 + 1 / SPLIT)


@given(VALUES, VALUES)
def test_a_greater_value_is_never_in_a_lower_bucket(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert 0 <= bucket_of(low) <= bucket_of(high) < BUCKETS


@given(st.integers(-(10**12), 10**15))
def test_any_value_is_counted_in_the_bucket_it_belongs_to(value: int) -> None:
    histogram = LatencyHistogram()
    histogram.record(value)
    assert histogram.sparse() == {bucket_of(value): 1}


@given(st.lists(st.integers(0, 10**8), min_size=1), st.floats(0.1, 100))
def test_a_percentile_is_at_most_a_128th_above_the_true_one(
    values: list[int], percent: float
) -> None:
    histogram = LatencyHistogram()
    for value in values:
        histogram.record(value)
    true = sorted(values)[max(1, math.ceil(len(values) * percent / 100)) - 1]
    assert true <= histogram.percentile(percent) <= true * (1 + 1 / SPLIT)


@given(st.lists(st.lists(VALUES)))
def test_what_several_counted_is_what_one_would_have_counted(parts: list[list[int]]) -> None:
    whole, split = LatencyHistogram(), []
    for part in parts:
        one = LatencyHistogram()
        for value in part:
            one.record(value)
            whole.record(value)
        split.append(one.sparse())
    assert merged(split).sparse() == whole.sparse()


def test_nothing_counted_has_no_percentiles() -> None:
    assert LatencyHistogram().percentiles_ms() == {}
    assert list(LatencyHistogram().distribution()) == []


def test_the_distribution_ends_with_all_at_the_greatest() -> None:
    histogram = LatencyHistogram({10: 3, 200: 1})
    assert list(histogram.distribution()) == [(0.75, 0.01), (1.0, 0.2)]
