from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.matches.rules.dice import Dice

Seeds = st.integers(0, 2**64 - 1)


def test_the_numbers_are_those_of_splitmix64() -> None:
    dice = Dice(0)  # the values of the reference implementation (Vigna, splitmix64.c)
    assert [dice.getrandbits(64) for _ in range(3)] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]


@given(Seeds, st.integers(0, 20))
def test_dice_go_on_from_their_state(seed: int, throws: int) -> None:
    first = Dice(seed)
    for _ in range(throws):
        first.random()
    second = Dice(1)
    second.state = first.state
    items = list(range(10))
    others = list(items)
    first.shuffle(items)
    second.shuffle(others)
    assert items == others
    assert first.uniform(-3, 3) == second.uniform(-3, 3)
    assert first.getstate() == second.getstate()


@given(Seeds, st.integers(0, 200))
def test_random_bits_are_as_many_as_asked_for(seed: int, bits: int) -> None:
    assert 0 <= Dice(seed).getrandbits(bits) < 2**bits


@given(Seeds)
def test_random_is_in_the_unit_interval(seed: int) -> None:
    assert 0.0 <= Dice(seed).random() < 1.0


def test_what_would_keep_state_elsewhere_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="normalvariate"):
        Dice(1).gauss()


def test_seed_and_setstate_set_the_state() -> None:
    dice = Dice(1)
    dice.seed(7)
    assert dice.state == 7
    dice.setstate((9,))
    assert dice.state == 9
    with pytest.raises(ValueError, match="not the state"):
        dice.setstate("no")
