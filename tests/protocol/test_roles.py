"""Roles: what each includes, and what an op without one allows."""

from __future__ import annotations

import pytest

from protocol.messages import EVERY_OP
from protocol.roles import ANYONE, OWNER, PLAYER, ROLES, STAFF, allows, with_included


def test_an_owner_may_what_all_other_staff_may() -> None:
    assert with_included([OWNER]) == set(STAFF)


@pytest.mark.parametrize(
    ("role", "included"),
    [
        ("operator", {"operator", "moderator", "support", "viewer"}),
        ("moderator", {"moderator", "viewer"}),
        ("support", {"support", "viewer"}),
        ("viewer", {"viewer"}),
        ("player", {"player"}),
        ("referee", {"referee"}),
    ],
)
def test_a_role_includes_those_below_it(role: str, included: set[str]) -> None:
    assert with_included([role]) == included


def test_what_names_no_role_is_for_nobody() -> None:
    assert not allows(None, frozenset(ROLES))


def test_every_op_names_the_role_that_may_ask_for_it() -> None:
    """An op that was added without one would be refused to all who ask."""
    assert [name for name, op in EVERY_OP.ops.items() if op.role is None] == []


def test_what_is_for_anyone_is_for_those_without_a_role() -> None:
    assert allows(ANYONE, frozenset())
    assert not allows(PLAYER, frozenset())
