"""What one member concludes from what it hears, case by case."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from actors.cluster.rules.answers import (
    Beaten,
    Ended,
    Event,
    Moved,
    NodeDown,
    NodeUp,
    Reported,
    Taken,
)
from actors.cluster.rules.applicant import Applicant
from actors.cluster.rules.lease import Contact, Lease, Timing
from actors.cluster.rules.member import Change, Member
from actors.cluster.rules.slot_table import GENERATION_BITS, Held
from actors.cluster.rules.slots import SLOTS
from actors.cluster.rules.view import Descriptor, Node, View
from actors.cluster.settings import MembershipSettings

TIMING = Timing(10.0)
BASE = 1 << GENERATION_BITS
MOST = 2 * SLOTS


def node(id_: str, *, generation: int = 1, renewed_s: float = 0.0, weight: float = 1.0) -> Node:
    descriptor = Descriptor(name=id_.partition(".")[0], weight=weight)
    return Node(id=id_, descriptor=descriptor, generation=generation, renewed_s=renewed_s)


def view(*nodes: Node, version: int = 1, newest: int = 9) -> View:
    return View(version, {one.id: one for one in nodes}, newest)


def beat(member: Member, now_s: float, generation: int = 1, **more: object) -> list[object]:
    answer = Beaten(generation)._replace(**more)  # type: ignore[arg-type]
    return list(member.beaten(now_s, now_s, answer))


def member(*others: Node, at_s: float = 0.0) -> Member:
    """`a.1`, which has heard from Valkey and knows these others."""
    found = Member("a.1", TIMING, at_s, 1)
    beat(found, at_s)
    found.viewed(at_s, view(node("a.1"), *others))
    return found


def claim(member: Member, changes: list[Change], generation: int = 1) -> None:
    base = generation << GENERATION_BITS
    member.learn(
        Held(slot, base + number, member.me) for number, (slot, _) in enumerate(changes, 1)
    )


# --- the lease ------------------------------------------------------------------------------------


def test_a_lease_counts_from_before_it_was_asked_for_and_never_comes_back() -> None:
    lease = Lease(TIMING, 0.0)
    lease.renew(1.0, 4.0)
    assert lease.until_s == pytest.approx(8.0)
    assert lease.holds(7.9)
    lease.renew(0.5, 7.9)  # an older answer that comes late
    assert lease.until_s == pytest.approx(8.0)
    assert not lease.holds(8.0)
    lease.renew(7.9, 8.0)
    lease.excuse(7.9, 8.0)
    assert not lease.holds(7.9)


def test_an_excuse_is_as_good_as_a_heartbeat() -> None:
    lease = Lease(TIMING, 0.0)
    lease.excuse(5.0, 6.0)
    assert lease.until_s == pytest.approx(12.0)
    assert lease.doubtful(6.0)
    lease.renew(6.0, 6.5)
    assert not lease.doubtful(7.9)


def test_the_times_leave_room_for_one_another() -> None:
    """A node stops before it can be buried, and asks to be excused in time before that."""
    for lease_s in (1.5, 4.0, 60.0):
        timing = Timing(lease_s)
        stops_s = lease_s - timing.margin_s
        # A step of Valkey's clock that nobody notices makes a heartbeat end by so much too soon.
        assert stops_s < lease_s - timing.gap_s
        # A report of another that is answered is fresh, also if it is as old as it gets.
        assert timing.report_s + timing.beat_s < timing.fresh_s
        # If Valkey has died right after this node's heartbeat, no report is fresh soon enough for
        # two attempts to be excused.
        assert timing.beat_s + timing.fresh_s + timing.report_s / 2 < stops_s


@pytest.mark.parametrize(
    ("settings", "within_s"),
    [(MembershipSettings(), 6.0), (MembershipSettings(lease_s=1.5), 2.0)],
)
def test_a_death_is_found_in_time_for_what_pages_promise(
    settings: MembershipSettings, within_s: float
) -> None:
    """Watchers find it within two of their heartbeats after the end of the dead node's lease."""
    timing = settings.timing
    found_s = timing.lease_s + 2 * timing.beat_s
    assert found_s + timing.beat_s <= within_s, "and one heartbeat to claim what it held"


def test_a_node_of_another_valkey_is_told_from_one_that_is_about_to_hear_of_a_flush() -> None:
    applicant, answer = Applicant(TIMING), Beaten(generation=7)
    known, other = node("a.1", generation=7), node("b.2", generation=6, renewed_s=1.0)
    dead = node("c.3", generation=5, renewed_s=TIMING.lease_s)
    assert applicant.of_another([known, dead], answer) is None
    assert applicant.of_another([known, other], answer) == "b.2"
    assert not applicant.apart(0.0, "b.2")
    assert not applicant.apart(2 * TIMING.lease_s, "b.2")
    assert not applicant.apart(2 * TIMING.lease_s, None)  # it has heard of it
    assert not applicant.apart(2 * TIMING.lease_s + 1.0, "b.2")
    assert applicant.apart(4 * TIMING.lease_s + 2.0, "b.2")


def test_contact_is_broken_by_silence_and_by_a_new_generation() -> None:
    contact = Contact(TIMING)
    for second in range(11):
        contact.answered(float(second), 1)
    assert contact.held(10.0)
    assert not contact.held(15.5)
    contact.answered(11.0, 2)
    assert (contact.since_s, contact.base) == (11.0, 2 * BASE)
    contact.answered(17.0, 2)
    assert contact.since_s == 17.0


# --- its end --------------------------------------------------------------------------------------


WAKES: list[Callable[[Member], list[Event]]] = [
    lambda one: one.check(20.0),
    lambda one: one.beaten(19.9, 20.0, Beaten(1)),
    lambda one: one.reported(19.9, 20.0, Reported(excused=True)),
]


@pytest.mark.parametrize("wake", WAKES)
def test_whatever_wakes_it_a_member_looks_at_the_clock_first(
    wake: Callable[[Member], list[Event]],
) -> None:
    one = member()
    claim(one, one.to_claim(0.0, MOST))
    assert wake(one) == [Ended("its lease is over")]
    assert not one.table.mine
    assert one.to_claim(20.0, MOST) == []
    assert one.to_give(MOST) == {}
    assert wake(one) == []


def test_one_that_was_buried_ends() -> None:
    one = member()
    assert one.reported(1.0, 1.0, Reported("by hand")) == [Ended("it was buried: by hand")]
    other = member()
    assert other.viewed(1.0, view(node("b.2"), version=2)) == [Ended("it was buried")]


def test_what_comes_late_to_one_that_has_left_does_not_say_why_it_ended() -> None:
    """A report that is on its way while it leaves comes upon the row of one that has left."""
    one = member()
    assert one.end("it has left") == [Ended("it has left")]
    assert one.reported(1.0, 1.0, Reported("it has left")) == []
    assert beat(one, 1.0) == []
    assert one.viewed(1.0, view(node("b.2"), version=2)) == []
    assert one.ended == "it has left"


# --- who is buried --------------------------------------------------------------------------------


def test_a_missing_node_is_buried_after_a_lease_of_contact_in_a_calm() -> None:
    one = member(node("b.2"))
    for second in range(12):
        beat(one, float(second), missing=["b.2", "z.3"], calm_s=11.0)
        assert one.to_bury(float(second)) == (["b.2"] if second >= 10 else [])
    beat(one, 12.0, missing=["b.2"], calm_s=9.9)  # Valkey's clock was moved
    assert one.to_bury(12.0) == []
    beat(one, 13.0, generation=2, missing=["b.2"], calm_s=11.0)
    assert one.to_bury(13.0) == []


def test_an_applicant_waits_as_long_for_the_node_of_its_name() -> None:
    applicant = Applicant(TIMING)
    missing = Beaten(1, missing=["a.1"], calm_s=100.0)
    assert not applicant.may_bury(0.0, Beaten(0))
    for second in range(11):
        assert applicant.may_bury(float(second), missing) == (second == 10)
    assert not applicant.may_bury(10.0, missing._replace(calm_s=9.0))
    assert not applicant.may_bury(10.0, Beaten(1, calm_s=100.0))


# --- what is claimed ------------------------------------------------------------------------------


def test_the_first_node_claims_everything_and_two_share() -> None:
    one = member()
    assert one.to_claim(0.0, 100)[:2] == [Change(0, 0), Change(1, 0)]
    claim(one, one.to_claim(0.0, MOST))
    assert len(one.table.mine) == SLOTS
    events = one.viewed(1.0, view(node("a.1"), node("b.2"), version=2))
    assert events == [NodeUp("b.2")]
    given = one.to_give(MOST)
    assert given.keys() == {"b.2"}
    assert all(one.placement.desired(slot) == "b.2" for slot, _ in given["b.2"])
    assert {len(changes) for changes in one.to_give(10).values()} == {10}


def test_what_a_living_or_a_newer_node_holds_is_left_alone() -> None:
    one = member(node("b.2"))
    wished = {slot for slot, _ in one.to_claim(0.0, MOST)}
    living, newer, dead, free = sorted(wished)[:4]
    one.learn(
        [
            Held(living, BASE + 1, "b.2"),
            Held(newer, BASE + 2, "c.10"),  # newer than the view
            Held(dead, BASE + 3, "c.3"),
            Held(free, BASE + 4, None),
        ]
    )
    assert {slot for slot, _ in one.to_claim(0.0, MOST)} == wished - {living, newer}
    assert Change(dead, BASE + 3) in one.to_claim(0.0, MOST)


def test_after_a_new_generation_what_older_nodes_held_waits_until_they_must_have_stopped() -> None:
    one = member(node("b.2"))
    slot = one.to_claim(0.0, MOST)[0].slot
    one.learn([Held(slot, BASE + 1, "b.2")])
    for second in range(1, 30):
        beat(one, float(second), generation=2)
        b = node("b.2", generation=1, renewed_s=float(second - 3))
        one.viewed(float(second), view(node("a.1"), b, version=1 + second))
        claimed = Change(slot, BASE + 1) in one.to_claim(float(second), MOST)
        # The register has heard at 3.0 that Valkey, another one, had answered b.
        assert claimed == (second > 13)


def test_an_older_node_that_has_claimed_anew_is_not_waited_for() -> None:
    one = member(node("b.2"))
    slot = one.to_claim(0.0, MOST)[0].slot
    beat(one, 1.0, generation=2)
    assert one.wants_view(1.0)
    assert Change(slot, 0) not in one.to_claim(1.0, MOST)
    one.viewed(1.0, view(node("a.1"), node("b.2", generation=2), version=2))
    assert Change(slot, 0) in one.to_claim(1.0, MOST)


def test_what_it_holds_itself_is_claimed_anew_or_given_up_in_time() -> None:
    one = member()
    claim(one, one.to_claim(0.0, MOST))
    beat(one, 1.0, generation=2)
    again = one.to_claim(1.0, MOST)
    assert len(again) == SLOTS
    assert one.generation == 1
    one.learn([Held(7, (2 << GENERATION_BITS) + 1, "a.1")])
    # By the heartbeat at 0.0, of the generation before: those of this one do not count.
    assert one.check_at_s == pytest.approx(7.0)
    assert beat(one, 6.9, generation=2) == []
    (moved,) = one.check(7.0)
    assert isinstance(moved, Moved)
    assert len(moved.slots) == SLOTS - 1
    assert one.table.mine == {7}
    assert one.generation == 2
    assert one.check_at_s == pytest.approx(13.9)


def test_an_excuse_holds_also_for_what_must_be_claimed_anew() -> None:
    one = member()
    claim(one, one.to_claim(0.0, MOST))
    one.reported(6.0, 6.0, Reported(excused=True))
    beat(one, 12.0, generation=2)
    assert one.check_at_s == pytest.approx(13.0)


# --- hand-over ------------------------------------------------------------------------------------


def test_what_was_to_be_given_to_one_that_died_is_taken_back() -> None:
    one = member()
    claim(one, one.to_claim(0.0, MOST))
    one.viewed(1.0, view(node("a.1"), node("b.2"), version=2))
    slots = {slot for slot, _ in one.to_give(MOST)["b.2"]}
    one.giving.update(dict.fromkeys(slots, "b.2"))
    assert not one.holds(min(slots))
    assert one.to_give(MOST) == {}
    events = one.viewed(2.0, view(node("a.1"), version=3))
    assert events == [NodeDown("b.2"), Taken(frozenset(slots))]
    assert one.holds(min(slots))


def test_one_that_leaves_gives_all_and_as_the_last_one_to_nobody() -> None:
    one = member()
    claim(one, one.to_claim(0.0, MOST))
    leaving = Node(id="a.1", descriptor=Descriptor(name="a"), generation=1, leaving=True)
    one.viewed(1.0, view(leaving, version=2))
    assert {to: len(changes) for to, changes in one.to_give(MOST).items()} == {None: SLOTS}
    one.viewed(2.0, view(leaving, node("b.2"), version=3))
    assert {to: len(changes) for to, changes in one.to_give(MOST).items()} == {"b.2": SLOTS}


def test_what_a_node_gives_away_as_it_leaves_is_not_given_back() -> None:
    """A node may hear of the hand-over before it has read that the giver leaves."""
    one = member(node("b.2"))
    wished_by_b = [slot for slot in range(SLOTS) if one.placement.desired(slot) == "b.2"]
    given = [Held(slot, BASE + 1 + slot, "a.1") for slot in wished_by_b]
    one.told(given, 2)
    assert one.table.mine == set(wished_by_b)
    assert one.wants_view(1.0)
    assert one.to_give(MOST) == {}
    leaving = Node(id="b.2", descriptor=Descriptor(name="b"), generation=1, leaving=True)
    one.viewed(1.0, view(node("a.1"), leaving, version=2))
    assert one.to_give(MOST) == {}


def test_what_others_tell_of_another_generation_is_left_to_heartbeats() -> None:
    one = member(node("b.2"))
    assert one.told([Held(1, (2 << GENERATION_BITS) + 1, "a.1")], 1) == []
    assert one.told([Held(1, BASE + 1, "a.1")], 1) == [Taken(frozenset({1}))]
    beat(one, 1.0, generation=2)
    assert one.told([Held(2, BASE + 2, "a.1")], 1) == []


def test_a_node_without_weight_gets_nothing() -> None:
    one = member(node("b.2", weight=0.0))
    assert len(one.to_claim(0.0, MOST)) == SLOTS
    assert math.isinf(Node(id="x.1", descriptor=Descriptor(name="x")).renewed_s)


def test_a_pool_is_shared_by_the_nodes_that_host_it() -> None:
    one = member()
    gpu = Node(id="b.2", descriptor=Descriptor(name="b", pools=(0, 1)), generation=1)
    one.viewed(1.0, view(node("a.1"), gpu, version=2))
    assert {one.placement.desired(slot) for slot in range(SLOTS, 2 * SLOTS)} == {"b.2"}
    assert {one.placement.desired(slot) for slot in range(SLOTS)} == {"a.1", "b.2"}
    assert max(slot for slot, _ in one.to_claim(1.0, MOST)) < SLOTS
