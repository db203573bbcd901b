"""The queries that walk the graph: what they find and leave out, with the real PostgreSQL."""

from __future__ import annotations

from actors.acquaintances import Fellow
from actors.friends.graph import MutualFriends, MutualPage, NotBlocked, SuggestUsers
from tests.actors.friends.circle import Circle


def suggested(
    circle: Circle, user: str, *fellows: Fellow, limit: int = 20
) -> list[tuple[str, int]]:
    found = circle.ask(SuggestUsers(user, fellows, limit))
    return [(one.user, one.mutual) for one in found]


def mutual(circle: Circle, user: str, other: str, limit: int = 20) -> tuple[list[str], int]:
    page: MutualPage = circle.ask(MutualFriends(user, other, limit))
    return page.friends, page.total


def test_two_users_share_those_who_are_friends_of_both(circle: Circle) -> None:
    circle.befriend("ada", "bob")
    for user in ("ada", "bob"):
        circle.befriend(user, "cyd")
        circle.befriend(user, "dan")
    circle.befriend("ada", "eve")
    circle.act("bob", "request", "eve")
    assert mutual(circle, "ada", "bob") == mutual(circle, "bob", "ada") == (["cyd", "dan"], 2)
    assert mutual(circle, "ada", "bob", limit=1) == (["cyd"], 2)
    assert mutual(circle, "ada", "nobody") == ([], 0)
    circle.act("bob", "block", "ada")
    assert mutual(circle, "ada", "bob") == mutual(circle, "bob", "ada") == ([], 0)


def test_friends_of_friends_are_suggested_by_how_many_friends_are_shared(circle: Circle) -> None:
    circle.befriend("ada", "b1")
    circle.befriend("ada", "b2")
    for friend, others in (("b1", ("one", "two")), ("b2", ("two", "far"))):
        for other in others:
            circle.befriend(friend, other)
    assert suggested(circle, "ada") == [("two", 2), ("far", 1), ("one", 1)]
    assert suggested(circle, "ada", limit=1) == [("two", 2)]


def test_the_known_and_the_blocked_are_not_suggested(circle: Circle) -> None:
    circle.befriend("ada", "bob")
    for other in ("friend", "requested", "asked", "blocked", "blocker", "new"):
        circle.befriend("bob", other)
    circle.befriend("ada", "friend")
    circle.act("ada", "request", "requested")
    circle.act("asked", "request", "ada")
    circle.act("ada", "block", "blocked")
    circle.act("blocker", "block", "ada")
    assert suggested(circle, "ada") == [("new", 1)]
    played = [Fellow(user, 1) for user in ("ada", "friend", "blocked", "blocker", "fellow")]
    assert suggested(circle, "ada", *played) == [("new", 1), ("fellow", 0)]
    assert circle.ask(NotBlocked("ada", [one.user for one in played])) == {
        "ada",
        "friend",
        "fellow",
    }


def test_those_who_were_played_with_later_come_first_among_equals(circle: Circle) -> None:
    circle.befriend("ada", "bob")
    circle.befriend("bob", "both")
    circle.befriend("bob", "cyd")
    fellows = [Fellow("early", 1), Fellow("late", 3), Fellow("both", 2)]
    found = circle.ask(SuggestUsers("ada", fellows, 20))
    assert [(one.user, one.mutual, one.played) for one in found] == [
        ("both", 1, 2),
        ("cyd", 1, None),
        ("late", 0, 3),
        ("early", 0, 1),
    ]
