"""The fields of a profile: what each may be, and how it is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.accounts.rules.profiles import (
    BadField,
    FieldTooLong,
    avatar_url,
    display_name,
    language_tag,
    metadata,
    time_zone,
)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ""), ("EN", "en"), ("pt-br", "pt-BR"), ("zh-hant-tw", "zh-Hant-TW"),
        ("de-1996", "de-1996"), ("es-419", "es-419"), ("EN-U-CA-Gregory", "en-u-ca-gregory"),
        ("sl-rozaj-biske", "sl-rozaj-biske"), ("de-x-AB", "de-x-ab"),
        ("zh-cmn-hans", "zh-cmn-Hans"),
    ],
)  # fmt: skip
def test_a_language_is_kept_as_it_is_usually_written(text: str, kept: str) -> None:
    assert language_tag(text) == kept
    assert language_tag(kept) == kept


@pytest.mark.parametrize(
    "text", ["e", "en_GB", "en--GB", "-en", "en-", "x", "deutsch-land-!", "ен"]
)
def test_what_is_no_tag_is_no_language(text: str) -> None:
    with pytest.raises(BadField):
        language_tag(text)


@pytest.mark.parametrize("text", ["", "UTC", "Europe/Berlin", "America/Argentina/Ushuaia"])
def test_a_zone_of_the_database_is_a_time_zone(text: str) -> None:
    assert time_zone(text) == text


@pytest.mark.parametrize(
    "text",
    ["Mars/Base", "../../etc/passwd", "/etc/localtime", "localtime", "posixrules", "Europe",
     "europe/nowhere", "tzdata.zi", "a\0b"],
)  # fmt: skip
def test_what_the_database_does_not_have_is_no_time_zone(text: str) -> None:
    with pytest.raises(BadField):
        time_zone(text)


@pytest.mark.parametrize(
    "text", ["", "https://a.example/x.png?s=1", "https://a.example:8443/é".replace("é", "%C3%A9")]
)
def test_an_address_by_https_is_an_avatar(text: str) -> None:
    assert avatar_url(text, 512) == text


@pytest.mark.parametrize(
    "text",
    [
        "http://a.example/", "javascript:alert(1)", "data:image/png;base64,AA", "//a.example/",
        "https://", "https:///x", "https://u:p@a.example/", "https://a.example:99999/",
        "https://a.example/ x", "https://a.example/\n", "https://a.example/<script>",
        "https://[::1/", "https://a.example:0/", "https://пример.example/",
    ],
)  # fmt: skip
def test_what_is_no_plain_address_by_https_is_no_avatar(text: str) -> None:
    with pytest.raises(BadField):
        avatar_url(text, 512)


def test_what_is_too_long_is_told_so() -> None:
    with pytest.raises(FieldTooLong):
        avatar_url("https://a.example/" + "x" * 512, 512)
    with pytest.raises(FieldTooLong):
        metadata("public_metadata", '{"a":"' + "é" * 30 + '"}', 64)


@pytest.mark.parametrize(
    "text", ["[]", "1", "null", "{", "{} {}", '{"a":"\\ud800"}', '{"a":NaN}', "{" * 2000]
)
def test_metadata_are_an_object_of_json(text: str) -> None:
    with pytest.raises(BadField):
        metadata("public_metadata", text, 4096)


def test_metadata_are_kept_as_they_are_written() -> None:
    text = '{ "a" : "\\ud83d\\ude00", "b": 1.0 }'
    assert metadata("public_metadata", text, 4096) == text


@pytest.mark.parametrize("text", ["   ", "\t", "a\u202eb", "\u2066x", "a\0"])
def test_a_display_name_is_seen_and_leaves_the_text_around_it_alone(text: str) -> None:
    with pytest.raises(BadField):
        display_name(text)


@given(st.text(max_size=64))
def test_a_display_name_that_is_kept_stays_as_it_is(text: str) -> None:
    try:
        kept = display_name(text)
    except BadField:
        return
    assert display_name(kept) == kept
