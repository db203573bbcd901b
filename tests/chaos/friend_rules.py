"""Rules for friends and blocks, by which `tests.chaos.checker` judges the minglers' records."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.history import History, Mingled

MIRROR = {"friend": "friend", "requested": "asked", "asked": "requested"}


def ties_are_symmetric(history: History) -> Iterator[str]:
    """Where one has a friend, so has the other; who has asked stands opposite who is asked."""
    ties = {(tie.user, tie.other): tie.state for tie in history.ties if tie.state in MIRROR}
    for (user, other), state in ties.items():
        theirs = ties.get((other, user))
        if theirs != MIRROR[state]:
            yield f"{user} has {other} as {state}, and the other way round it is {theirs}"


def no_one_befriends_a_blocker(history: History) -> Iterator[str]:
    """There is no tie between two of whom one has blocked the other."""
    blocks = {(tie.user, tie.other) for tie in history.ties if tie.state == "blocked"}
    for tie in history.ties:
        if tie.state in MIRROR and (tie.user, tie.other) in blocks:
            yield f"{tie.user} has blocked {tie.other}, who is {tie.state}"
        if tie.state in MIRROR and (tie.other, tie.user) in blocks:
            yield f"{tie.user} is blocked by {tie.other}, who is {tie.state}"


def acknowledged_blocks_are_kept(history: History) -> Iterator[str]:
    """A user has blocked another one if the last acknowledged act of the two says so."""
    blocks = {(tie.user, tie.other) for tie in history.ties if tie.state == "blocked"}
    last: dict[tuple[str, str], Mingled] = {}
    for act in history.mingled:
        if act.outcome == "ok" and act.op in {"block.add", "block.remove"}:
            last[act.user, act.other] = act
    # What was not answered in the end may have acted, so only those are judged who got answers.
    for pair, act in last.items():
        if pair not in history.undecided and (act.op == "block.add") != (pair in blocks):
            yield f"{act.op} of {act.other} by {act.user} was acknowledged and does not hold"
