"""Routes that depend on who asks."""

from __future__ import annotations

from typing import Any

import pytest

from actors.edge.identity import Identity
from actors.edge.routes import AskSession, OnlyFor
from protocol.errors import FORBIDDEN, RequestError
from protocol.messages.session import Ping


class Client:
    def __init__(self) -> None:
        self.refused: list[tuple[str, int | None]] = []

    def refuse(self, error: RequestError, ref: int | None) -> None:
        self.refused.append((error.error.code, ref))


class Asker:
    def __init__(self, *roles: str) -> None:
        self.who = Identity("s", "u", "n", roles=frozenset(roles))


@pytest.mark.parametrize(
    ("roles", "served"), [((), 0), (("player",), 0), (("referee",), 1), (("player", "referee"), 1)]
)
def test_an_op_for_a_role_is_for_those_who_have_it(roles: tuple[str, ...], served: int) -> None:
    asked: list[Any] = []
    route = OnlyFor("referee", AskSession(lambda *called: asked.append(called), outlives=True))
    client = Client()
    route.serve(Asker(*roles), client, Ping(ref=7))  # type: ignore[arg-type]
    assert len(asked) == served
    assert client.refused == ([] if served else [(FORBIDDEN.code, 7)])
    assert route.outlives
