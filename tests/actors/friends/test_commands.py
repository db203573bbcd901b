"""Commands on ties: what they promise, with the real PostgreSQL."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from actors.friends.rules.ties import Act, TieCounts
from persistence.postgres.connection import connect
from protocol.errors import FORBIDDEN, NOT_ASKED, QUOTA_EXCEEDED, TOO_MANY_FRIENDS, ErrorCode
from tests.actors.friends.circle import Circle
from tests.persistence.asking import outcome, wait_until_held_up

FEW = TieCounts(2, 2, 2, 2)


def test_a_request_that_is_accepted_makes_friends_and_both_are_told(circle: Circle) -> None:
    assert circle.act("ada", "request", "bob") == "requested"
    assert circle.ties("bob") == {"ada": "asked"}
    assert circle.act("bob", "accept", "ada", worker=1) == "friend"
    assert (circle.ties("ada"), circle.ties("bob")) == ({"bob": "friend"}, {"ada": "friend"})
    assert circle.told("ada") == [("bob", "requested"), ("bob", "friend")]
    assert circle.told("bob") == [("ada", "asked"), ("ada", "friend")]
    assert circle.act("ada", "remove", "bob") is None
    assert (circle.ties("ada"), circle.ties("bob")) == ({}, {})
    assert (circle.told("ada")[-1], circle.told("bob")[-1]) == (("bob", None), ("ada", None))


def test_what_changes_nothing_tells_nobody(circle: Circle) -> None:
    circle.act("ada", "request", "bob")
    before = circle.told("ada"), circle.told("bob")
    assert circle.act("ada", "request", "bob") == "requested"
    assert circle.act("bob", "remove", "ada") == "asked"
    assert circle.act("cyd", "decline", "ada") is None
    assert circle.attempt("ada", "accept", "bob") is NOT_ASKED
    assert circle.attempt("ada", "accept", "cyd") is NOT_ASKED
    assert (circle.told("ada"), circle.told("bob")) == before
    assert circle.told("cyd") == []


def test_requests_that_cross_make_a_friendship_however_they_meet(circle: Circle) -> None:
    """From two workers at once, as from two nodes, and in one transaction."""
    with ThreadPoolExecutor(2) as pool:
        for turn in range(10):
            users = (f"a{turn}", f"b{turn}")
            answers = list(
                pool.map(
                    lambda n, users=users: circle.act(users[n], "request", users[1 - n], worker=n),
                    range(2),
                )
            )
            assert sorted(map(str, answers)) == ["friend", "requested"]
            assert circle.ties(users[0]) == {users[1]: "friend"}
            assert circle.ties(users[1]) == {users[0]: "friend"}
    with connect(circle.settings) as other:
        with other.transaction():
            other.execute(f"LOCK TABLE {circle.settings.schema}.friend_ties")
            circle.begin("eve", "request", "fay")
            wait_until_held_up(other)
            futures = [circle.begin("ada", "request", "bob"), circle.begin("bob", "request", "ada")]
        assert [outcome(one).answer.state for one in futures] == ["requested", "friend"]
    assert circle.ties("ada") == {"bob": "friend"}


def test_a_retry_with_its_key_gets_the_first_answer_and_does_not_act_again(circle: Circle) -> None:
    assert circle.act("ada", "request", "bob", key="k") == "requested"
    circle.act("bob", "decline", "ada")
    assert circle.act("ada", "request", "bob", key="k", worker=1) == "requested"
    assert circle.ties("ada") == circle.ties("bob") == {}


def test_limits_are_those_of_both_sides(circle: Circle) -> None:
    for other in ("b1", "b2"):
        assert circle.act("ada", "request", other, most=FEW) == "requested"
    assert circle.attempt("ada", "request", "b3", most=FEW) is TOO_MANY_FRIENDS
    assert circle.act("c1", "request", "b1", most=FEW) == "requested"
    assert circle.attempt("c2", "request", "b1", most=FEW) is TOO_MANY_FRIENDS
    for other in ("b1", "b2"):
        assert circle.act(other, "accept", "ada", most=FEW) == "friend"
    assert circle.attempt("ada", "request", "b3", most=FEW) is TOO_MANY_FRIENDS
    assert circle.act("c1", "request", "d1", most=FEW) == "requested"
    for other in ("x", "y"):
        circle.act("ada", "block", other, most=FEW)
    assert circle.attempt("ada", "block", "z", most=FEW) is QUOTA_EXCEEDED
    assert circle.act("ada", "block", "x", most=FEW) is None


def test_limits_hold_where_many_act_at_once(circle: Circle) -> None:
    most = TieCounts(5, 5, 5, 5)
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(
            pool.map(
                lambda n: circle.attempt("ada", "request", f"b{n}", most=most, worker=n % 2),
                range(12),
            )
        )
    assert Counter(map(str, outcomes)) == {"requested": 5, str(TOO_MANY_FRIENDS): 7}
    assert len(circle.ties("ada")) == 5


def test_a_block_ends_what_was_and_the_blocked_one_is_not_told_of_it(circle: Circle) -> None:
    circle.befriend("ada", "bob")
    circle.act("cyd", "request", "ada")
    assert circle.act("ada", "block", "bob") is None
    circle.act("ada", "block", "cyd")
    circle.act("ada", "block", "dan")
    assert circle.blocked("ada") == {"bob", "cyd", "dan"}
    assert circle.ties("ada") == circle.ties("bob") == circle.ties("cyd") == {}
    assert circle.told("bob")[-1] == ("ada", None)
    assert circle.told("cyd")[-1] == ("ada", None)
    assert circle.told("dan") == []
    assert ("dan", "blocked") in circle.told("ada")
    assert circle.attempt("bob", "request", "ada") is FORBIDDEN
    assert circle.attempt("ada", "request", "bob") is FORBIDDEN
    circle.act("ada", "unblock", "bob")
    assert circle.told("ada")[-1] == ("bob", None)
    assert circle.act("bob", "request", "ada") == "requested"


def test_whatever_all_do_at_once_from_two_nodes_ends_symmetric(
    circle: Circle,
) -> None:
    users = [f"u{number}" for number in range(6)]
    acts: list[Act] = ["request", "request", "accept", "decline", "remove", "block", "unblock"]
    dice = random.Random(7)
    plans = [(*dice.sample(users, 2), dice.choice(acts)) for _ in range(600)]

    def do(given: tuple[int, tuple[str, str, Act]]) -> str | ErrorCode | None:
        number, (user, other, act) = given
        return circle.attempt(user, act, other, worker=number % 2)

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(do, enumerate(plans)))
    assert {one for one in outcomes if isinstance(one, ErrorCode)} <= {FORBIDDEN, NOT_ASKED}
    ties = {user: circle.ties(user) for user in users}
    blocked = {user: circle.blocked(user) for user in users}
    mirror = {"friend": "friend", "requested": "asked", "asked": "requested"}
    for user in users:
        for other, state in ties[user].items():
            assert ties[other][user] == mirror[state]
            assert other not in blocked[user]
            assert user not in blocked[other]


def test_an_erased_user_has_no_ties_and_stays_blocked_where_others_did_that(circle: Circle) -> None:
    circle.befriend("ada", "bob", "cyd")
    circle.act("ada", "block", "eve")
    circle.act("dan", "block", "ada")
    assert {(one["user"], one["state"]) for one in circle.export("ada")} == {
        ("bob", "friend"),
        ("cyd", "friend"),
        ("eve", "blocked"),
    }
    assert circle.erase("ada") == 3
    assert circle.export("ada") == []
    assert circle.ties("bob") == {"cyd": "friend"}
    assert circle.blocked("dan") == {"ada"}
    assert circle.erase("ada") == 0
