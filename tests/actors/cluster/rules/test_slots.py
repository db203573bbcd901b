"""Slots and who should hold them."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.cluster.rules.rendezvous import Rendezvous
from actors.cluster.rules.slot_table import Held, SlotTable
from actors.cluster.rules.slots import SLOTS, pool_of, slot_of, slot_of_kind, slots_of_pool
from actors.cluster.rules.view import Descriptor, Node, View, incarnation_of, name_of_node, node_id

POOL = slots_of_pool(0)


def test_a_slot_says_its_pool_and_is_the_same_on_every_node() -> None:
    assert slot_of("room", "lobby") == 14_749
    assert slot_of("room", "lobby", pool=2) == 2 * SLOTS + 14_749
    assert pool_of(slot_of("room", "lobby", pool=2)) == 2
    assert slot_of_kind("directory") in slots_of_pool(0)
    assert len(POOL) == SLOTS


def counts(desired: Rendezvous) -> Counter[str | None]:
    return Counter(desired.desired(slot) for slot in POOL)


def test_slots_are_spread_by_weight() -> None:
    desired = Rendezvous(POOL)
    desired.update({"a": 1.0, "b": 1.0, "c": 2.0})
    found = counts(desired)
    assert found["a"] == pytest.approx(SLOTS / 4, rel=0.06)
    assert found["b"] == pytest.approx(SLOTS / 4, rel=0.06)
    assert found["c"] == pytest.approx(SLOTS / 2, rel=0.06)


def test_a_node_that_joins_takes_its_share_and_nothing_else_moves() -> None:
    desired = Rendezvous(POOL)
    assert desired.update({"a": 1.0, "b": 1.0}) == set(POOL)
    before = {slot: desired.desired(slot) for slot in POOL}
    moved = desired.update({"a": 1.0, "b": 1.0, "c": 1.0})
    assert len(moved) == pytest.approx(SLOTS / 3, rel=0.06)
    for slot in POOL:
        assert desired.desired(slot) == ("c" if slot in moved else before[slot])
    assert desired.update({"a": 1.0, "b": 1.0}) == moved
    assert {slot: desired.desired(slot) for slot in POOL} == before


Nodes = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([0.5, 1.0, 3.0]))


@settings(max_examples=15)
@given(st.lists(Nodes, min_size=1, max_size=5))
def test_the_way_to_a_set_of_nodes_does_not_matter(steps: list[dict[str, float]]) -> None:
    slots = range(100, 400)
    walked, straight = Rendezvous(slots), Rendezvous(slots)
    for nodes in steps:
        before = [walked.desired(slot) for slot in slots]
        moved = walked.update(nodes)
        after = [walked.desired(slot) for slot in slots]
        assert moved == {
            slot for slot, was, is_ in zip(slots, before, after, strict=True) if was != is_
        }
    straight.update(steps[-1])
    assert [walked.desired(slot) for slot in slots] == [straight.desired(slot) for slot in slots]


@given(st.permutations([Held(1, 1, "a.1"), Held(1, 2, "b.2"), Held(1, 3, None), Held(1, 4, "a.1")]))
def test_news_in_any_order_come_to_the_same(news: list[Held]) -> None:
    table = SlotTable("a.1")
    list(table.learn(news + news))
    assert (table.holder(1), table.epoch(1), table.mine) == ("a.1", 4, {1})


def test_a_table_knows_nothing_of_slots_it_never_heard_of() -> None:
    table = SlotTable("a.1")
    assert (table.holder(10 * SLOTS), table.epoch(10 * SLOTS)) == (None, 0)
    list(table.learn([Held(10 * SLOTS, 5, "a.1")]))
    assert (table.holder(10 * SLOTS), table.epoch(10 * SLOTS)) == ("a.1", 5)


def test_a_name_has_no_dot_so_that_an_id_can_be_taken_apart() -> None:
    assert node_id("n-1_x", 7) == "n-1_x.7"
    assert (name_of_node("n-1_x.7"), incarnation_of("n-1_x.7")) == ("n-1_x", 7)
    for name in ("", "n.1", "n/1", "ä", "n" * 65, "n1\n"):
        with pytest.raises(ValueError, match="a node's name"):
            node_id(name, 1)


def view_of(count: int) -> View:
    nodes = {
        f"n{n}.{n}": Node(id=f"n{n}.{n}", descriptor=Descriptor(name=f"n{n}"))
        for n in range(1, count + 1)
    }
    return View(1, nodes, count)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 50])
def test_each_node_is_watched_by_three_others(count: int) -> None:
    view = view_of(count)
    watched = Counter(node for me in view.nodes for node in view.watched_by(me))
    assert dict(watched) == dict.fromkeys(view.nodes if count > 1 else (), min(3, count - 1))
    assert not [me for me in view.nodes if me in view.watched_by(me)]


def test_a_node_that_is_newer_than_the_view_is_not_dead() -> None:
    view = view_of(3)
    assert view.buried("n9.1")
    assert not view.buried("n1.1")
    assert not view.buried("n9.4")
