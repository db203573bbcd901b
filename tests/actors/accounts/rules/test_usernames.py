"""Usernames: which can be one, which are the same to whoever reads them, and which are reserved."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.accounts.rules.look_alikes import skeleton
from actors.accounts.rules.usernames import (
    BadUsername,
    ReservedUsername,
    Username,
    fold,
    username,
)


def named(text: str, *reserved: str) -> Username:
    return username(text, least=1, most=32, reserved=reserved)


def same(one: str, other: str) -> bool:
    return not set(named(one).keys).isdisjoint(named(other).keys)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada", "aDA"),
        ("paypal", "раураl"),  # Cyrillic, but for the l
        ("mark", "rnark"),
        ("Ilya", "llya"),  # a capital I beside a small L
        ("BOB", "B0B"),
        ("bob", "ВОВ"),  # Cyrillic capitals
        ("straße", "STRASSE"),
        ("ada", "ａｄａ"),  # full width
        ("ﬁn", "fin"),  # a ligature
        ("é", "e\u0301"),
        ("scope", "ѕсоре"),  # Cyrillic as a whole
    ],
)
def test_names_that_look_alike_are_the_same(one: str, other: str) -> None:
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"), [("ada", "adam"), ("ilya", "llya"), ("jose", "josé"), ("ada", "a.da")]
)
def test_names_that_differ_to_the_eye_are_two(one: str, other: str) -> None:
    assert not same(one, other)


@pytest.mark.parametrize(
    "text", ["Ada", "ada_1", "Ærøskøbing", "サクラ", "김철수", "דוד", "अदा", "7"]
)
def test_names_of_any_script_are_taken_as_they_are_written(text: str) -> None:
    assert named(text).shown == unicodedata.normalize("NFKC", text)


@pytest.mark.parametrize(
    "text",
    [
        "", "x" * 33, "ﷺﷺ", "a b", "a\n", "a\0b", "_a", "a_", "a__b", "a.-b", "-", "a/b", "a@b",
        "a\u200db", "a\u202eb", "a\u2066b", "\u3164", "\u115f", "a\ufe0f", "a\u034f", "\u0301",
        "a\u0300\u0301\u0302\u0303\u0304\u0305\u0306", "😀", "a\ue000", "a\U000e0061", "①%",
        "a\u0488\u0489\u20dd\u20de\u20df",
    ],
)  # fmt: skip
def test_a_text_that_cannot_be_a_name_is_none(text: str) -> None:
    with pytest.raises(BadUsername):
        named(text)


@pytest.mark.parametrize(
    "text",
    ["admin", "ADMIN", "Adrnin", "аdmin", "ad.min", "a-d-m-i-n", "SUPP0RT", "guest-x1", "key-7",
     "ｍｏｄ", "Greenroom", "ΑDMΙΝ", "OFFlClAL", "ADMlN", "ꓮꓓꓟꓲꓠ", "ΜΕ", "guеst-ADAxrinZ", "kеy-x"],
)  # fmt: skip
def test_a_reserved_name_is_nobodys_however_it_is_written(text: str) -> None:
    with pytest.raises(ReservedUsername):
        named(text)


def test_a_server_reserves_names_of_its_own() -> None:
    named("Acme")
    with pytest.raises(ReservedUsername):
        named("acrne", "Acme")


@given(st.text(max_size=64))
def test_a_name_is_the_same_as_itself_in_every_form(text: str) -> None:
    try:
        found = named(text)
    except (BadUsername, ReservedUsername):
        return
    assert named(found.shown) == found
    assert fold(found.folded) == found.folded
    for form in (found.shown.upper(), found.shown.lower(), unicodedata.normalize("NFD", text)):
        try:
            other = named(form)
        except (BadUsername, ReservedUsername):
            continue  # an upper case may be longer than a name may be
        assert fold(found.shown) != fold(form) or same(found.shown, other.shown)


@given(st.text(max_size=64))
def test_a_skeleton_is_that_of_the_parts(text: str) -> None:
    decomposed = unicodedata.normalize("NFD", text)
    assert skeleton(text) == unicodedata.normalize("NFD", "".join(map(skeleton, decomposed)))
