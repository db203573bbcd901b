"""Routes that depend on who asks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from trio.testing import wait_all_tasks_blocked

from actors.edge.failures import Refused
from actors.edge.identity import Identity
from actors.edge.outcome import RequestOutcome
from actors.edge.routes import AskService, AskSession, OnlyFor
from actors.runtime.future import Future
from protocol.errors import FORBIDDEN, NOT_FOUND, RequestError
from protocol.messages.session import Ping
from protocol.messages.storage import StorageList


class Client:
    def __init__(self) -> None:
        self.refused: list[tuple[str, int | None]] = []
        self.connection = SimpleNamespace(peer="192.0.2.7")

    def may_ask(self, _: int | None) -> bool:
        return True

    has_room = may_ask

    def begin(self, ref: int | None, answer: Future[Any]) -> None:
        pass

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


@pytest.mark.parametrize("how", ["answered", "refused at once", "refused later", "of no role"])
async def test_what_became_of_a_request_for_a_role_is_told(how: str) -> None:
    told: list[RequestOutcome] = []
    found: Future[Any] = Future()

    def answer(_: Identity, __: Any) -> Future[Any]:
        if how == "refused at once":
            raise Refused(NOT_FOUND)
        return found

    route = OnlyFor("viewer", AskService(answer), "storage.list", told.append)
    asker = Asker() if how == "of no role" else Asker("viewer")
    request = StorageList(ref=7, collection="c", user="ada")
    route.serve(asker, Client(), request)  # type: ignore[arg-type]
    assert len(told) == (how in ("refused at once", "of no role"))
    if how == "answered":
        found.set(None)
    elif how == "refused later":
        found.set_exception(Refused(NOT_FOUND))
    await wait_all_tasks_blocked()
    code = {"answered": "", "of no role": "forbidden"}.get(how, "not_found")
    assert told == [RequestOutcome(asker.who, "storage.list", "viewer", "192.0.2.7", "ada", code)]
