from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from actors.node import garbage
from actors.node.garbage import YOUNG, YOUNG_TURNS, Garbage


class Node:
    """An object that refers to itself, so that only the collector can free it."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def entered() -> Iterator[Garbage]:
    with Garbage() as one:
        yield one


def test_afterwards_the_collector_is_as_it_was() -> None:
    before = gc.get_threshold()
    with Garbage():
        assert gc.get_threshold() != before
        assert gc.get_freeze_count() > 0
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_young_cycles_are_still_found(entered: Garbage) -> None:
    seen = weakref.ref(Node())
    kept = [[n] for n in range(2 * YOUNG)]
    assert seen() is None
    assert len(kept) == 2 * YOUNG
    assert entered.full_collections == 0


def test_what_outlives_its_youth_is_frozen_and_only_that(entered: Garbage) -> None:
    before = gc.get_freeze_count()
    entered.turn()
    assert gc.get_freeze_count() == pytest.approx(before, abs=1000)
    kept = [[n] for n in range(2 * YOUNG * YOUNG_TURNS)]
    entered.turn()
    assert gc.get_freeze_count() >= before + len(kept)
    assert entered.full_collections == 0


def test_frozen_cycles_are_found_once_much_has_been_frozen(
    entered: Garbage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garbage, "FULL_AFTER", 0)
    node = Node()
    seen = weakref.ref(node)
    entered.collect()  # it is frozen now
    del node
    gc.collect()
    assert seen() is not None
    kept = []
    while entered.full_collections < 2:  # until as much is new as there was
        kept.append([[n] for n in range(2 * YOUNG * YOUNG_TURNS)])
        entered.turn()
    assert seen() is None
    assert entered.longest_s > 0
