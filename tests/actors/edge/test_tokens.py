"""Session tokens: what was signed is read back, and anything else is refused with one error."""

from __future__ import annotations

import base64
import hmac

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.edge.tokens import Claims, Tokens
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


def signed(body: bytes, secret: bytes = NEW) -> str:
    return base64.urlsafe_b64encode(hmac.digest(secret, body, "sha256") + body).decode()


def test_a_token_of_the_first_version_is_still_understood() -> None:
    # Issued by the server before tokens had a version, under OLD.
    token = "atZH57kI4aCSHFKjjQZu-dflCJ2elZ66TqQ4HCp_eMeUoXOhdaFuy0CPQAAAAAAA"
    assert tokens(OLD).verify(token) == Claims("s", "u", "n", 1_000.0)


def test_claims_that_are_added_later_do_not_matter() -> None:
    body = msgspec.msgpack.encode(["s", "u", "n", 1_000.0, "", [], 0.0, ["more"], {"more": 1}])
    assert tokens().verify(signed(b"\x02" + body)) == Claims("s", "u", "n", 1_000.0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x02",
        b"\x03" + msgspec.msgpack.encode(["s", "u", "n", 1_000.0]),
        b"\x02" + msgspec.msgpack.encode(["s", "u", 7, 1_000.0]),
        b"\x02" + msgspec.msgpack.encode({"session": "s"}),
        msgspec.msgpack.encode(["s", "u", "n"]),
        msgspec.msgpack.encode(["s", "u", "n", 1_000.0, "longer"]),
    ],
)
def test_a_token_of_ours_that_is_understood_no_more_is_refused(body: bytes) -> None:
    refused(tokens(), signed(body))
