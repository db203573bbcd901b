"""Reading and listing players' objects, with the real PostgreSQL."""

from __future__ import annotations

import pytest

from actors.storage.rules.cursors import START, Bookmark
from protocol.messages.storage import StoredObject
from tests.actors.storage.shelf import Shelf, drop, put


def names(objects: list[StoredObject]) -> list[str]:
    return [f"{one.key} {one.user}" for one in objects]


def test_one_reads_what_one_may(shelf: Shelf) -> None:
    shelf.change("ada", put("a", "1", read="public"), put("b", "2"), put("c", "3", read="nobody"))
    assert shelf.read("ada", "a", "b", "c", "none") == ["1", "2"]
    assert shelf.read("bob", "a", "b", "c", "none", of="ada") == ["1"]
    assert shelf.read("bob", "a") == []
    assert shelf.read("ada", "b", "a", "b") == ["2", "1", "2"], "as they were asked for"
    assert shelf.read("ada") == []


def test_an_answer_that_is_full_says_what_it_did_not_look_for(shelf: Shelf) -> None:
    shelf.change("ada", *(put(str(n), f'"{"x" * 100}"') for n in range(6)))
    whole = shelf.look("ada", *"0?1?2?3")
    assert (len(whole.objects), whole.unread) == (4, 0)
    part = shelf.look("ada", *"0?1?2?3", most=120)
    assert [one.key for one in part.objects] == ["0", "1"]
    assert part.unread == 3, "from the place of 2 on"
    assert len(shelf.look("ada", *"01", most=1).objects) == 1, "one comes in any case"


def test_a_list_is_by_key_and_goes_on_where_it_ended(shelf: Shelf) -> None:
    shelf.change("ada", *(put(f"k{n:02}", str(n)) for n in range(10)))
    shelf.change("ada", put("k00", collection="other"), put("hidden", read="nobody"))
    found, after = [], START
    while True:
        page = shelf.page("ada", "ada", after, limit=4)
        found += page.objects
        if not page.more:
            break
        after = Bookmark(found[-1].key, found[-1].user)
    assert [one.key for one in found] == [f"k{n:02}" for n in range(10)]
    assert not shelf.page("ada", "ada", limit=10).more
    assert shelf.page("bob", "ada").objects == []


def test_a_list_ends_a_page_once_its_bytes_have_come_together(shelf: Shelf) -> None:
    shelf.change("ada", *(put(f"k{n}", f'"{"x" * 100}"', read="public") for n in range(6)))
    for user in ("ada", None):
        page = shelf.page("ada", user, most=250)
        assert (len(page.objects), page.more) == (3, True)
        assert len(shelf.page("ada", user, most=1).objects) == 1


def test_the_public_ones_of_all_are_listed_together(shelf: Shelf) -> None:
    for user in ("cyd", "ada", "bob"):
        shelf.change(user, put("2", read="public"), put("1", read="public"), put("3"))
    listed = names(shelf.page("ada", None).objects)
    assert listed == [f"{key} {user}" for key in "12" for user in ("ada", "bob", "cyd")]
    assert names(shelf.page("ada", "bob").objects) == ["1 bob", "2 bob"]
    after = Bookmark("1", "bob")
    assert names(shelf.page("ada", None, after, limit=2).objects) == ["1 cyd", "2 ada"]


@pytest.mark.parametrize("user", ["ada", None])
def test_who_reads_page_by_page_misses_and_repeats_nothing_though_others_write(
    shelf: Shelf, user: str | None
) -> None:
    shelf.change("ada", *(put(f"k{n:02}", read="public") for n in range(0, 20, 2)))
    found: list[str] = []
    after = START
    for turn in range(100):
        page = shelf.page("ada", user, after, limit=2)
        found += [one.key for one in page.objects]
        if not page.more:
            break
        after = Bookmark(page.objects[-1].key, page.objects[-1].user)
        # Before and behind the place where the reader is; and the very object it stands on goes.
        shelf.change("ada", put(f"a{turn}", read="public"), drop(after.key))
        shelf.change("ada", put(f"k{2 * turn + 5:02}", read="public"))
    assert found == sorted(set(found))
    assert {f"k{n:02}" for n in range(0, 20, 2)} <= set(found)


def test_names_are_in_the_order_of_their_bytes(shelf: Shelf) -> None:
    keys = ["Z", "a", "b", "Ä", "ä", "\U0001f3b2"]
    shelf.change("ada", *(put(key) for key in keys))
    assert [one.key for one in shelf.page("ada", "ada").objects] == sorted(keys)
