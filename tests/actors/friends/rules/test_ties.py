"""What each act does to a tie, and what is in its way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.friends.rules.ties import (
    MIRROR,
    Act,
    Bond,
    IsBlocked,
    NotAsked,
    Pair,
    TieCounts,
    TieDenied,
    TooMany,
    TooManyBlocks,
    tie_after,
)

MOST = TieCounts(2, 2, 2, 2)
NONE = TieCounts()
TIES: list[Bond | None] = [None, "friend", "requested", "asked"]
ACTS: list[Act] = ["request", "accept", "decline", "remove", "block", "unblock"]


@pytest.mark.parametrize(
    ("act", "before", "after"),
    [
        ("request", None, "requested"),
        ("request", "requested", "requested"),
        ("request", "friend", "friend"),
        ("request", "asked", "friend"),
        ("accept", "asked", "friend"),
        ("accept", "friend", "friend"),
        ("decline", "asked", None),
        ("decline", "requested", "requested"),
        ("decline", "friend", "friend"),
        ("remove", "friend", None),
        ("remove", "requested", None),
        ("remove", "asked", "asked"),
        ("block", "friend", None),
        ("block", "asked", None),
        ("unblock", "friend", "friend"),
    ],
)
def test_an_act_leads_from_one_state_to_another(
    act: Act, before: Bond | None, after: Bond | None
) -> None:
    assert tie_after(act, Pair(before), NONE, NONE, MOST).tie == after


def test_there_is_nothing_to_accept_before_the_other_has_asked() -> None:
    ties: list[Bond | None] = [None, "requested"]
    for tie in ties:
        with pytest.raises(NotAsked):
            tie_after("accept", Pair(tie), NONE, NONE, MOST)


def test_nobody_asks_where_one_has_blocked_the_other() -> None:
    for pair in (Pair(blocks=True), Pair(blocked=True)):
        with pytest.raises(IsBlocked):
            tie_after("request", pair, NONE, NONE, MOST)


@pytest.mark.parametrize(
    ("act", "tie", "mine", "theirs"),
    [
        ("request", None, TieCounts(friend=2), NONE),
        ("request", None, TieCounts(requested=2), NONE),
        ("request", None, NONE, TieCounts(asked=2)),
        ("request", "asked", TieCounts(friend=2), NONE),
        ("accept", "asked", TieCounts(friend=2), NONE),
        ("accept", "asked", NONE, TieCounts(friend=2)),
    ],
)
def test_a_limit_of_either_side_is_in_the_way(
    act: Act, tie: Bond | None, mine: TieCounts, theirs: TieCounts
) -> None:
    with pytest.raises(TooMany):
        tie_after(act, Pair(tie), mine, theirs, MOST)


def test_a_user_blocks_only_so_many() -> None:
    with pytest.raises(TooManyBlocks):
        tie_after("block", Pair(), TieCounts(blocks=2), NONE, MOST)
    assert tie_after("block", Pair(blocks=True), TieCounts(blocks=2), NONE, MOST).blocks


pairs = st.builds(Pair, st.sampled_from(TIES), st.booleans(), st.booleans()).filter(
    lambda pair: pair.tie is None or not (pair.blocks or pair.blocked)
)


@given(act=st.sampled_from(ACTS), pair=pairs)
def test_a_tie_and_a_block_never_stand_together_and_both_sides_agree(act: Act, pair: Pair) -> None:
    assert pair.turned().turned() == pair
    try:
        after = tie_after(act, pair, NONE, NONE, MOST)
    except TieDenied:
        return
    assert after.tie is None or not (after.blocks or after.blocked)
    assert after.blocked == pair.blocked  # only the other one can change that
    assert after.turned().tie == (None if after.tie is None else MIRROR[after.tie])
    try:
        assert tie_after(act, after, NONE, NONE, MOST) == after  # a repeat changes nothing
    except NotAsked:
        raise AssertionError("what was accepted can be accepted again") from None
