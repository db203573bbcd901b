"""Cursors of lists of users."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.friends.rules.cursors import NotOfThisList, cursor_after, last_of

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=128)


@given(list_=texts, last=texts)
def test_a_cursor_tells_where_its_list_goes_on(list_: str, last: str) -> None:
    assert last_of(list_, cursor_after(list_, last)) == last
    with pytest.raises(NotOfThisList):
        last_of(list_ + "x", cursor_after(list_, last))


def test_without_a_cursor_a_list_begins() -> None:
    assert last_of("friends", None) == ""


@pytest.mark.parametrize("text", ["x", "é", "=", "WyJhIl0", cursor_after("friends", "a\0")])
def test_another_text_is_no_cursor(text: str) -> None:
    with pytest.raises(NotOfThisList):
        last_of("friends", text)
