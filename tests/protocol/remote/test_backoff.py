from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from protocol.remote.backoff import ReconnectBackoff

backoffs = st.builds(
    ReconnectBackoff,
    first_s=st.floats(0.0, 10.0),
    factor=st.floats(1.0, 10.0),
    max_s=st.floats(0.0, 120.0),
    drained_s=st.floats(0.0, 10.0),
)


@given(backoffs, st.integers(0, 10_000), st.integers())
def test_a_wait_is_never_negative_nor_above_the_bound(
    backoff: ReconnectBackoff, attempt: int, seed: int
) -> None:
    wait = backoff.wait_s(attempt, random.Random(seed))
    assert 0.0 <= wait <= backoff.bound_s(attempt) <= backoff.max_s


@given(backoffs, st.integers())
def test_after_a_drain_the_wait_is_within_its_bound_and_the_first_one(
    backoff: ReconnectBackoff, seed: int
) -> None:
    wait = backoff.wait_after_drain_s(random.Random(seed))
    assert 0.0 <= wait <= min(backoff.drained_s, backoff.bound_s(0))


@given(backoffs, st.integers(0, 200))
def test_the_bound_only_grows(backoff: ReconnectBackoff, attempt: int) -> None:
    assert backoff.bound_s(attempt) <= backoff.bound_s(attempt + 1)


def test_the_bound_doubles_up_to_its_limit() -> None:
    backoff = ReconnectBackoff(first_s=0.5, factor=2.0, max_s=3.0)
    assert [backoff.bound_s(attempt) for attempt in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_jitter_is_full_from_the_first_attempt_on() -> None:
    # A server that is killed sends every client away at once; they must not all come back at once.
    rng = random.Random(1)
    waits = [ReconnectBackoff(first_s=1.0).wait_s(0, rng) for _ in range(1000)]
    assert min(waits) < 0.01
    assert max(waits) > 0.99
    assert 0.45 < sum(waits) / len(waits) < 0.55
