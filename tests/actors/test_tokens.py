"""Session tokens: what is signed comes back, anything else is refused with one name."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.tokens import Claims, Tokens
from protocol.errors import BAD_TOKEN, RequestError

OLD, NEW = b"an old secret of 24 bytes", b"a new secret of 24 bytes."


def tokens(*secrets: bytes, now: float = 1_000.0, valid_s: float = 60.0) -> Tokens:
    return Tokens(secrets or (NEW,), valid_s=valid_s, clock=lambda: now)


def refused(checker: Tokens, token: str) -> None:
    with pytest.raises(RequestError) as caught:
        checker.verify(token)
    assert caught.value.error is BAD_TOKEN


@given(st.text(max_size=64), st.text(max_size=64), st.text(max_size=64))
def test_a_token_says_what_was_signed(session: str, user: str, name: str) -> None:
    token = tokens().issue(session, user, name)
    assert tokens().verify(token) == Claims(session, user, name, 1_000.0)
    assert token.isascii()
    assert len(tokens().issue("s" * 64, "u" * 64, "\U0001f600" * 64)) <= 1024


@given(st.data())
def test_a_token_with_any_bit_changed_is_refused(data: st.DataObject) -> None:
    raw = bytearray(base64.urlsafe_b64decode(tokens().issue("s", "u", "n")))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    refused(tokens(), base64.urlsafe_b64encode(raw).decode())


@given(st.text(max_size=200))
def test_whatever_else_a_client_sends_is_refused(text: str) -> None:
    refused(tokens(), text)


def test_a_token_expires() -> None:
    token = tokens(now=1_000.0).issue("s", "u", "n")
    assert tokens(now=1_060.0).verify(token).user == "u"
    refused(tokens(now=1_060.1), token)


def test_a_secret_can_be_replaced_without_sending_everyone_away() -> None:
    token = tokens(OLD).issue("s", "u", "n")
    assert tokens(NEW, OLD).verify(token).user == "u"
    refused(tokens(NEW), token)
    assert tokens(NEW).verify(tokens(NEW, OLD).issue("s", "u", "n")).user == "u"


@pytest.mark.parametrize("secrets", [(), (b"short",), (NEW, b"short")])
def test_a_secret_that_can_be_guessed_is_not_taken(secrets: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        Tokens(secrets, valid_s=1.0, clock=lambda: 0.0)
