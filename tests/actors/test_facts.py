from __future__ import annotations

from typing import Any, cast

import msgspec

from actors.facts import Facts


class Length(msgspec.Struct, frozen=True):
    """A query for the length of a text, as PostgreSQL counts it."""

    text: str


def test_workers_of_queries_are_asked_in_turn() -> None:
    class Noted:
        def __init__(self) -> None:
            self.queries: list[Any] = []

        def ask(self, message: Any, *, timeout: float | None = None) -> Any:
            self.queries.append((message.query.text, timeout))

    workers = [Noted(), Noted()]
    facts = Facts([], cast("Any", workers), timeout_s=7)
    for text in "abc":
        facts.ask(Length(text))
    assert [one.queries for one in workers] == [[("a", 7), ("c", 7)], [("b", 7)]]
