"""The configuration decides which secrets sign tokens."""

from __future__ import annotations

import pytest

import server
from actors.edge.tokens import Tokens
from actors.node.config import load
from actors.node.opening import token_secrets
from actors.node.sections import ConfigError
from actors.node.services import load_services
from persistence import PostgresSettings
from persistence.postgres import get_or_create_secret

SERVICES = load_services(server.SERVICES)
A, B = "the first of two secrets", "the second of two secrets"


def test_the_stored_secret_is_made_once_and_can_be_replaced(postgres_url: str) -> None:
    postgres = PostgresSettings(url=postgres_url)

    def tokens(*named: str) -> Tokens:
        return Tokens(token_secrets(named, postgres), valid_s=60.0, clock=lambda: 0.0)

    assert token_secrets(["stored"], postgres) == [get_or_create_secret(postgres, "session-tokens")]
    before = tokens("stored").issue("s", "u", "n")
    assert tokens(A, "stored").verify(before).user == "u"
    after = tokens(A, "stored").issue("s", "u", "n")
    assert tokens(B, A).verify(after).user == "u"


@pytest.mark.parametrize(
    "named", ['["short"]', "[]", '["stored", ""]', "an unquoted secret of many letters", "[1]"]
)
def test_a_secret_that_cannot_be_one_is_refused_and_not_shown(named: str) -> None:
    with pytest.raises(ConfigError, match="token_secrets") as refused:
        load(None, {"GREENROOM_SESSIONS__TOKEN_SECRETS": named}, services=SERVICES)
    for text in ("short", "unquoted"):
        assert text not in str(refused.value)
