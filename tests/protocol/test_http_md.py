"""HTTP.md says what the code does."""

from __future__ import annotations

from protocol.http.exchange import ApiError
from protocol.messages import EVERY_OP
from protocol.messages.op import fields_of
from protocol.roles import ROLES
from protocol.tables import HTTP_PAGE, cells, written_http

TEXT = HTTP_PAGE.read_text(encoding="utf-8")


def test_the_table_of_ops_is_up_to_date() -> None:
    assert written_http(TEXT) == TEXT
    assert written_http(TEXT.replace("| `ping` | player |", "| `ping` | anyone |")) == TEXT


def test_every_role_is_named() -> None:
    who = TEXT.partition("## Who calls")[2].partition("\n## ")[0]
    assert [role for role in ROLES if f"`{role}`" not in who] == []


def test_every_op_names_a_role_that_there_is() -> None:
    assert {op.role for op in EVERY_OP.ops.values()} <= set(ROLES)


def test_the_fields_of_a_refusal_are_described() -> None:
    table = TEXT.partition("## Errors over HTTP")[2]
    assert [row[0] for row in cells(table)] == [f"`{one.name}`" for one in fields_of(ApiError)]
