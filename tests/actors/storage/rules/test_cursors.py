from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.storage.rules import cursors
from actors.storage.rules.cursors import Bookmark, NoCursor, bookmark, cursor

LIST = ("everyone", "scores", "")
text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@given(text, text)
def test_a_cursor_leads_back_to_its_place(key: str, user: str) -> None:
    assert bookmark(LIST, cursor(LIST, Bookmark(key, user))) == Bookmark(key, user)


@given(text, text)
def test_a_cursor_of_another_list_is_none(key: str, user: str) -> None:
    for other in (("everyone", "score", "s"), ("ada", "scores", ""), ("everyone", "saves", "")):
        with pytest.raises(NoCursor):
            bookmark(other, cursor(LIST, Bookmark(key, user)))


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda b: base64.b64encode(b).decode()))
def test_what_is_no_cursor_is_refused(sent: str) -> None:
    with pytest.raises(NoCursor):
        bookmark(LIST, sent)


@pytest.mark.parametrize(
    "forged", [b"", b"[]", b'["a"]', b'["a","b","c"]', b'[1,"b"]', b'["\\u0000",""]', b"[" * 999]
)
def test_a_forged_check_does_not_let_nonsense_through(forged: bytes) -> None:
    """The check is no secret, since it only guards against mistakes."""
    sent = base64.urlsafe_b64encode(cursors.check_of(LIST, forged) + forged).decode().rstrip("=")
    with pytest.raises(NoCursor):
        bookmark(LIST, sent)
