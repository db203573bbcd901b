"""Rate limits: what they let through in the long run and after a pause, and what is flooding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.edge.rules.bucket import Bucket, ClientLimits

Takes = st.lists(
    st.tuples(st.floats(0.0, 3.0), st.floats(0.1, 8.0)), min_size=1, max_size=60
)  # (seconds since the one before, amount)


@given(st.floats(0.5, 50.0), st.floats(1.0, 40.0), Takes)
def test_a_bucket_gives_what_a_counted_one_would(
    rate: float, burst: float, takes: list[tuple[float, float]]
) -> None:
    bucket = Bucket(rate, burst)
    now, tokens = 0.0, burst
    for pause, amount in takes:
        now += pause
        tokens = min(burst, tokens + pause * rate)
        near = abs(tokens - amount) < 1e-6 or abs(tokens - burst) < 1e-6
        given_ = bucket.take(now, amount)
        if not near:
            assert given_ == (amount <= tokens)
        if given_:
            tokens -= amount


def test_a_full_bucket_gives_more_than_it_holds_and_then_owes_it() -> None:
    bucket = Bucket(rate_per_s=1.0, burst=2.0)
    assert bucket.take(0.0, 10.0)
    assert not bucket.take(7.5)
    assert bucket.take(9.5)


@given(st.floats(0.5, 50.0), st.floats(1.0, 40.0), Takes, st.floats(0.1, 100.0))
def test_a_bucket_says_when_it_will_give(
    rate: float, burst: float, takes: list[tuple[float, float]], wanted: float
) -> None:
    bucket = Bucket(rate, burst)
    now = 0.0
    for pause, amount in takes:
        now += pause
        bucket.take(now, amount)
    wait_s = bucket.ready_in(now, wanted)
    if wait_s > 1e-6:
        assert not bucket.take(now + wait_s - 1e-6, wanted)
    assert bucket.take(now + wait_s + 1e-6, wanted)


def test_what_is_given_back_can_be_taken_again() -> None:
    bucket = Bucket(rate_per_s=1.0, burst=2.0)
    assert bucket.take(0.0, 2.0)
    assert not bucket.take(0.0)
    bucket.give_back(1.0)
    assert bucket.take(0.0)
    assert not bucket.take(0.0)


def test_a_rate_of_zero_is_no_limit() -> None:
    bucket = Bucket(rate_per_s=0.0, burst=1.0)
    assert all(bucket.take(0.0, 1e9) for _ in range(1000))


def limits(
    *, messages_per_s: float = 10.0, bytes_per_s: float = 1000.0, flooding_s: float = 5.0
) -> ClientLimits:
    return ClientLimits(
        messages_per_s=messages_per_s,
        messages_burst=10.0,
        bytes_per_s=bytes_per_s,
        bytes_burst=1000.0,
        flooding_s=flooding_s,
    )


def flooding_after(client: ClientLimits, per_s: float, size: int, for_s: float) -> float | None:
    for number in range(int(per_s * for_s)):
        now = number / per_s
        if not client.admit(now, size) and client.flooding(now, size):
            return now
    return None


def test_a_client_within_its_rate_is_always_admitted() -> None:
    client = limits()
    assert all(client.admit(number / 10.0, 100) for number in range(1000))


@pytest.mark.parametrize(("per_s", "size"), [(20.0, 1), (10.0, 200), (2.0, 1000)])
def test_at_twice_the_rate_a_client_floods_after_the_time_set(per_s: float, size: int) -> None:
    after = flooding_after(limits(), per_s, size, for_s=60.0)
    assert after is not None
    assert 4.0 <= after <= 8.0  # the burst lasts for about a second first


def test_a_client_a_little_over_its_rate_is_held_back_but_never_floods() -> None:
    assert flooding_after(limits(), 10.9, 1, for_s=600.0) is None


def test_a_client_far_over_its_rate_floods_soon() -> None:
    after = flooding_after(limits(), 1000.0, 1, for_s=60.0)
    assert after is not None
    assert after < 0.2


def test_without_a_limit_on_messages_bytes_still_count() -> None:
    client = limits(messages_per_s=0.0)
    assert client.admit(0.0, 900)
    assert not client.admit(0.0, 900)
    assert client.admit(0.0, 100)
