"""Which nodes are for which kinds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.cluster.rules.labels import ANY, kept_differently, pool_of_label, pools_of, serves
from actors.cluster.rules.slots import SLOTS, pool_of, slot_of
from actors.cluster.rules.view import Descriptor, Node, View

LABELS = st.lists(st.sampled_from(["games", "boards", "chat", ANY]), unique=True).map(tuple)


@given(LABELS, st.sampled_from(["", "games", "boards"]))
def test_a_node_has_the_pools_of_what_it_is_for_and_no_other(
    labels: tuple[str, ...], label: str
) -> None:
    assert (pool_of_label(label) in pools_of(labels)) == serves(labels, label)
    assert len(pools_of(labels)) == len(set(pools_of(labels)))


def test_a_node_with_labels_does_nothing_else_unless_it_says_so() -> None:
    assert serves((), "")
    assert not serves((), "games")
    assert serves(("games",), "games")
    assert not serves(("games",), "")
    assert serves(("games", ANY), "")


def test_kinds_of_one_label_share_its_slots() -> None:
    pool = pool_of_label("games")
    assert pool_of(slot_of("match", "1", pool)) == pool
    assert slot_of("match", "1", pool) % SLOTS == slot_of("match", "1") % SLOTS


def test_a_node_that_starts_is_for_its_labels_already_and_one_that_leaves_no_longer() -> None:
    starts = Node(id="a.1", descriptor=Descriptor(name="a", labels=("games",), pools=()))
    leaves = Node(id="b.2", descriptor=Descriptor(name="b"), leaving=True)
    view = View(1, {one.id: one for one in (starts, leaves)}, 2)
    assert view.serves("games")
    assert not view.serves("")
    assert not starts.hosts(pool_of_label("games"))


def test_a_kind_that_two_nodes_keep_differently_is_found() -> None:
    assert kept_differently({"match": "games"}, {"match": "games"}) is None
    assert kept_differently({"match": "games"}, {}) == "match"
    assert kept_differently({"match": "games"}, {"match": "boards"}) == "match"
