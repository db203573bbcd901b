"""Budgets of loading rooms and matches: of sessions of other nodes."""

from __future__ import annotations

import msgspec
import pytest
from trio.testing import MockClock

from actors.edge.activations import Activations
from actors.edge.failures import Refused
from actors.edge.identity import Identity
from actors.edge.settings import SessionSettings
from actors.edge.topic_messages import Join, Leave, Part, Resume, TopicMessage
from actors.matches.messages import Repeat

ADA = Identity("b.1/ada", "user", "ada", address="192.0.2.1")


def activations(**limits: float) -> Activations:
    return Activations(msgspec.structs.replace(SessionSettings(), **limits))


async def test_a_session_of_another_node_has_a_budget_of_its_own(autojump_clock: MockClock) -> None:
    here = activations(activations_per_s=1.0, activations_burst=2)
    bob = msgspec.structs.replace(ADA, session="b.1/bob")
    for _ in range(2):
        here.admit_visitor(Join(ADA, 1))
    with pytest.raises(Refused) as refused:
        here.admit_visitor(Resume(ADA, 1, 1, 1))
    assert (refused.value.error.code, here.refused) == ("rate_limited", 1)
    assert refused.value.retry_in_s == pytest.approx(1.0)
    here.admit_visitor(Join(bob, 1))


async def test_its_address_and_the_node_have_budgets_too(autojump_clock: MockClock) -> None:
    others = [msgspec.structs.replace(ADA, session=f"b.1/{number}") for number in range(3)]
    of_address = activations(address_activations_per_s=1.0, address_activations_burst=2)
    of_node = activations(activations_all_per_s=1.0, activations_all_burst=2)
    for here, code in ((of_address, "rate_limited"), (of_node, "busy")):
        for who in others[:2]:
            here.admit_visitor(Join(who, 1))
        with pytest.raises(Refused) as refused:
            here.admit_visitor(Join(others[2], 1))
        assert refused.value.error.code == code


async def test_only_what_may_load_an_actor_for_a_stranger_is_charged(
    autojump_clock: MockClock,
) -> None:
    here = activations(activations_all_per_s=1.0, activations_all_burst=1)
    for message in (Leave(ADA), Part(ADA, keep_place=False), TopicMessage(ADA), "anything"):
        here.admit_visitor(message)
    here.admit_visitor(Repeat(ADA, 1, None))
    with pytest.raises(Refused):
        here.admit_visitor(Join(ADA, 1))
