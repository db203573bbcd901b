"""Access tokens: what they give, and everything else that is refused."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.edge.access import Grant
from actors.edge.access_tokens import PREFIX, AccessKeys, AccessTokens, is_access_token
from actors.edge.tokens import Tokens
from protocol.errors import BAD_TOKEN, TOKEN_EXPIRED, UNAVAILABLE, ErrorCode, RequestError

OLD = AccessKeys("k1", {"k1": b"one" * 11})
BOTH = AccessKeys("k2", {"k1": b"one" * 11, "k2": b"two" * 11})


def tokens(keys: AccessKeys | None = OLD, now: float = 1_000.0) -> AccessTokens:
    return AccessTokens(lambda: keys, valid_s=60.0, clock=lambda: now)


def refusal(checker: AccessTokens, token: str) -> ErrorCode:
    with pytest.raises(RequestError) as caught:
        checker.read(token)
    return caught.value.error


@given(
    st.text(max_size=128),
    st.text(max_size=64),
    st.lists(st.text(max_size=16), max_size=5).map(tuple),
)
def test_a_token_gives_what_was_signed(user: str, name: str, roles: tuple[str, ...]) -> None:
    token = tokens().issue(user, name, roles, "s1")
    assert tokens().read(token) == Grant(user, name, roles, "s1", 1_060.0)
    assert is_access_token(token)


def test_the_longest_token_fits_into_a_request() -> None:
    roles = ("viewer", "moderator", "support", "operator", "owner")
    token = tokens().issue("u" * 64, "\U0001f600" * 64, roles, "s" * 22)
    assert len(token) <= 1024


@given(st.data())
def test_a_token_with_any_bit_changed_is_refused(data: st.DataObject) -> None:
    text = tokens().issue("ada", "Ada", (), "s1").removeprefix(PREFIX)
    raw = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    changed = PREFIX + base64.urlsafe_b64encode(raw).decode().rstrip("=")
    assert refusal(tokens(), changed) is BAD_TOKEN


@given(st.text(max_size=200))
def test_whatever_else_a_client_sends_is_refused(text: str) -> None:
    assert refusal(tokens(), text) is BAD_TOKEN
    assert refusal(tokens(), PREFIX + text) is BAD_TOKEN


def test_a_token_has_one_spelling_only() -> None:
    token = tokens().issue("ada", "Ada", (), "s1")
    for variant in (token + "=", token + "==", token.replace("_", "/", 2), " " + token):
        assert variant == token or refusal(tokens(), variant) is BAD_TOKEN


def test_a_token_runs_out_and_says_so() -> None:
    token = tokens().issue("ada", "Ada", (), "s1")
    assert tokens(now=1_059.9).read(token).user == "ada"
    assert refusal(tokens(now=1_060.0), token) is TOKEN_EXPIRED


def test_a_token_from_a_clock_that_is_an_hour_ahead_is_not_valid_yet() -> None:
    token = tokens(now=4_600.0).issue("ada", "Ada", (), "s1")
    assert refusal(tokens(), token) is BAD_TOKEN
    assert tokens(now=4_545.0).read(token).user == "ada"


def test_keys_are_replaced_without_sending_anyone_away() -> None:
    older, newer = tokens(OLD).issue("ada", "", (), "s1"), tokens(BOTH).issue("ada", "", (), "s1")
    assert tokens(BOTH).read(older).user == tokens(BOTH).read(newer).user == "ada"
    assert refusal(tokens(OLD), newer) is BAD_TOKEN
    assert refusal(tokens(AccessKeys("k2", {"k2": b"two" * 11})), older) is BAD_TOKEN


def test_a_key_of_the_same_name_of_another_server_does_not_do() -> None:
    token = tokens(AccessKeys("k1", {"k1": b"other" * 11})).issue("ada", "", (), "s1")
    assert refusal(tokens(), token) is BAD_TOKEN


def test_before_the_keys_are_read_no_token_is_judged_and_none_is_issued() -> None:
    assert refusal(tokens(None), tokens().issue("ada", "", (), "s1")) is UNAVAILABLE
    with pytest.raises(LookupError):
        tokens(None).issue("ada", "", (), "s1")


def test_the_token_of_a_session_is_no_access_token_nor_the_other_way_round() -> None:
    of_sessions = Tokens([b"one" * 11], valid_s=60.0, clock=lambda: 1_000.0)
    assert refusal(tokens(), of_sessions.issue("s", "ada", "Ada")) is BAD_TOKEN
    with pytest.raises(RequestError):
        of_sessions.verify(tokens().issue("ada", "Ada", (), "s1").removeprefix(PREFIX))
