"""Who has come and gone in an interval."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.chat.rules.comings import Comings

MANY = 1_000


@given(st.lists(st.lists(st.integers(0, 5), max_size=20), max_size=5))
def test_whoever_applies_the_changes_knows_who_is_there(intervals: list[list[int]]) -> None:
    comings: Comings[int] = Comings()
    there: set[int] = set()
    known: set[int] = set()
    for interval in intervals:
        before = set(there)
        for user in interval:  # each comes if not there, and else goes
            if user in there:
                comings.left(str(user), user)
            else:
                comings.joined(str(user), user)
            there ^= {user}
        change = comings.end_interval(MANY)
        assert change is not None
        assert set(change.left) == before - there
        assert set(change.joined) == there - before
        known = (known - set(change.left)) | set(change.joined)
        assert known == there


def test_who_comes_back_by_another_name_has_left_and_joined() -> None:
    comings: Comings[str] = Comings()
    comings.left("1", "ada")
    comings.joined("1", "adele")
    assert comings.end_interval(MANY) == (["adele"], ["ada"])
    assert comings.end_interval(MANY) == ([], [])


def test_too_many_are_not_named_and_are_not_named_later_either() -> None:
    comings: Comings[int] = Comings()
    for user in range(4):
        comings.joined(str(user), user)
    assert comings.end_interval(3) is None
    assert comings.end_interval(3) == ([], [])
