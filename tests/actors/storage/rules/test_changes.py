from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.storage.rules.changes import (
    Denied,
    NotTheOwners,
    ObjectChange,
    ObjectName,
    OtherVersion,
    OverQuota,
    Present,
    Quota,
    Usage,
    decide,
    size_of,
    twice,
)

SAVE, LOCKED = ObjectName("saves", "1"), ObjectName("saves", "locked")
PRESENT = {SAVE: Present(7, 100, "owner"), LOCKED: Present(9, 50, "nobody")}
USAGE = Usage(2, 150)
QUOTA = Quota(10, 1000)


def after(*changes: ObjectChange, quota: Quota | None = QUOTA) -> Usage:
    return decide(changes, PRESENT, USAGE, quota)


def test_what_is_written_and_deleted_is_counted() -> None:
    assert after(ObjectChange(SAVE, 30, None)) == Usage(2, 80)
    assert after(ObjectChange(ObjectName("saves", "2"), 30, None)) == Usage(3, 180)
    assert after(ObjectChange(SAVE, None, None)) == Usage(1, 50)
    assert after(ObjectChange(ObjectName("saves", "2"), None, None)) == USAGE
    assert after() == USAGE


def test_a_change_for_another_version_is_denied() -> None:
    assert after(ObjectChange(SAVE, 100, 7)) == USAGE
    assert after(ObjectChange(ObjectName("saves", "2"), 1, 0)) == Usage(3, 151)
    for name, expected in ((SAVE, 6), (SAVE, 0), (ObjectName("saves", "2"), 7)):
        for size in (100, None):
            with pytest.raises(OtherVersion):
                after(ObjectChange(name, size, expected))


def test_what_its_owner_may_not_write_the_server_may() -> None:
    for size in (1, None):
        with pytest.raises(NotTheOwners, match="saves/locked"):
            after(ObjectChange(LOCKED, size, None))
    assert after(ObjectChange(LOCKED, 10, None), quota=None) == Usage(2, 110)
    assert after(ObjectChange(LOCKED, 9**9, None), quota=None).size > QUOTA.size
    with pytest.raises(OtherVersion):
        after(ObjectChange(LOCKED, 10, 8), quota=None)


def test_more_than_a_user_may_have_is_denied() -> None:
    new = ObjectName("saves", "2")
    assert after(ObjectChange(new, 850, None)) == Usage(3, 1000)
    with pytest.raises(OverQuota, match="1000 bytes"):
        after(ObjectChange(new, 851, None))
    with pytest.raises(OverQuota, match="2 objects"):
        after(ObjectChange(new, 1, None), quota=Quota(2, 1000))
    # What another change makes room for is not too much.
    assert (
        after(
            ObjectChange(new, 1, None), ObjectChange(SAVE, None, None), quota=Quota(2, 1000)
        ).objects
        == 2
    )


def test_whoever_has_more_since_the_quota_was_lowered_can_make_it_less() -> None:
    low = Quota(1, 60)
    assert after(ObjectChange(SAVE, 99, None), quota=low) == Usage(2, 149)
    assert after(ObjectChange(SAVE, None, None), quota=low) == Usage(1, 50)
    with pytest.raises(OverQuota):
        after(ObjectChange(SAVE, 101, None), quota=low)


names = st.builds(ObjectName, st.sampled_from("ab"), st.sampled_from("xy"))


@given(
    st.dictionaries(
        names, st.builds(Present, st.integers(1, 3), st.integers(1, 60), st.just("owner"))
    ),
    st.dictionaries(
        names, st.tuples(st.none() | st.integers(1, 60), st.none() | st.integers(0, 3))
    ),
)
def test_usage_is_what_is_there(
    present: dict[ObjectName, Present], changes: dict[ObjectName, tuple[int | None, int | None]]
) -> None:
    sizes = {name: one.size for name, one in present.items()}
    usage = Usage(len(sizes), sum(sizes.values()))
    try:
        usage = decide(
            [ObjectChange(name, *change) for name, change in changes.items()],
            present,
            usage,
            Quota(3, 120),
        )
    except Denied:
        return
    for name, (size, _) in changes.items():
        sizes.pop(name, None)
        if size is not None:
            sizes[name] = size
    assert usage == Usage(len(sizes), sum(sizes.values()))


def test_a_size_is_in_bytes() -> None:
    assert size_of(ObjectName("é", "a"), '"ß"') == 2 + 1 + 4


def test_a_name_that_comes_twice_is_found() -> None:
    assert twice([SAVE, LOCKED]) is None
    assert twice([SAVE, LOCKED, ObjectName("saves", "1")]) == SAVE
