"""Ties compared with a model of them, asked from two workers as from two nodes."""

from __future__ import annotations

import secrets
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from actors.friends.rules.ties import Act, TieCounts
from protocol.errors import FORBIDDEN, NOT_ASKED, QUOTA_EXCEEDED, TOO_MANY_FRIENDS, ErrorCode
from tests.actors.friends.circle import Circle
from tests.persistence.asking import outcome

USERS = ("ada", "bob", "cyd", "dan")
MOST = TieCounts(2, 2, 2, 2)

users = st.sampled_from(USERS)
couples = st.tuples(users, users).filter(lambda two: two[0] != two[1])
acts = st.sampled_from(["request", "request", "accept", "decline", "remove", "block", "unblock"])
steps = st.tuples(couples, acts, st.integers(0, 1))


class Model:
    """Who has asked whom, who are friends, and who has blocked whom, as sets of pairs."""

    def __init__(self) -> None:
        self.asked: set[tuple[str, str]] = set()
        self.friends: set[frozenset[str]] = set()
        self.blocks: set[tuple[str, str]] = set()

    def copy(self) -> Model:
        other = Model()
        other.asked, other.friends = set(self.asked), set(self.friends)
        other.blocks = set(self.blocks)
        return other

    def friends_of(self, user: str) -> int:
        return sum(user in two for two in self.friends)

    def do(self, user: str, other: str, act: Act) -> str | ErrorCode | None:
        """Act; returns the state from the side of `user`, or the error."""
        both, ask, back = frozenset({user, other}), (user, other), (other, user)
        if act == "request":
            if ask in self.blocks or back in self.blocks:
                return FORBIDDEN
            if both in self.friends or ask in self.asked:
                return self.state(user, other)
            if back not in self.asked:
                full = (
                    self.friends_of(user) >= MOST.friend
                    or sum(one == user for one, _ in self.asked) >= MOST.requested
                    or sum(one == other for _, one in self.asked) >= MOST.asked
                )
                if full:
                    return TOO_MANY_FRIENDS
                self.asked.add(ask)
                return "requested"
            act = "accept"
        if act == "accept":
            if both in self.friends:
                return "friend"
            if back not in self.asked:
                return NOT_ASKED
            if max(self.friends_of(user), self.friends_of(other)) >= MOST.friend:
                return TOO_MANY_FRIENDS
            self.asked.discard(back)
            self.friends.add(both)
        elif act == "decline":
            self.asked.discard(back)
        elif act == "remove":
            self.asked.discard(ask)
            self.friends.discard(both)
        elif act == "block":
            if ask not in self.blocks and sum(u == user for u, _ in self.blocks) >= MOST.blocks:
                return QUOTA_EXCEEDED
            self.blocks.add(ask)
            self.asked -= {ask, back}
            self.friends.discard(both)
        else:
            self.blocks.discard(ask)
        return self.state(user, other)

    def state(self, user: str, other: str) -> str | None:
        if frozenset({user, other}) in self.friends:
            return "friend"
        if (user, other) in self.asked:
            return "requested"
        return "asked" if (other, user) in self.asked else None


def test_no_sequence_of_acts_tells_ties_from_their_model(circle: Circle) -> None:
    class Ties(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.prefix = secrets.token_hex(6)
            self.model = Model()
            self.told: dict[str, dict[str, str | None]] = {user: {} for user in USERS}

        def name(self, user: str) -> str:
            return f"{self.prefix}-{user}"

        def plain(self, name: str) -> str:
            return name.removeprefix(f"{self.prefix}-")

        @rule(step=steps)
        def act(self, step: Any) -> None:
            (user, other), act, worker = step
            expected = self.model.do(user, other, act)
            found = circle.attempt(self.name(user), act, self.name(other), most=MOST, worker=worker)
            assert found == expected

        @rule(one=steps, two=steps)
        def act_at_once(self, one: Any, two: Any) -> None:
            """Either may come first, and what comes out is as if one of them did."""
            first = self.model.copy()
            answers = [first.do(user, other, act) for (user, other), act, _ in (one, two)]
            second = self.model.copy()
            turned = [second.do(user, other, act) for (user, other), act, _ in (two, one)][::-1]
            futures = [
                circle.begin(self.name(user), act, self.name(other), most=MOST, worker=place)
                for place, ((user, other), act, _) in enumerate((one, two))
            ]
            found = [self.meaning(outcome(future)) for future in futures]
            possible = [(answers, first), (turned, second)]
            fits = [model for expected, model in possible if expected == found]
            assert fits
            state = {user: self.ties(user) for user in USERS}
            blocks = {user: self.blocks(user) for user in USERS}
            for model in fits:
                if all(
                    state[user] == self.ties_in(model, user)
                    and blocks[user] == {two for one, two in model.blocks if one == user}
                    for user in USERS
                ):
                    self.model = model
                    return
            raise AssertionError("the outcome is that of no order")

        @staticmethod
        def meaning(done: Any) -> Any:
            return done.error if isinstance(done, Exception) else done.answer.state  # type: ignore[attr-defined]

        def ties(self, user: str) -> dict[str, str]:
            found = circle.ties(self.name(user))
            return {self.plain(other): state for other, state in found.items()}

        def blocks(self, user: str) -> set[str]:
            return {self.plain(other) for other in circle.blocked(self.name(user))}

        @staticmethod
        def ties_in(model: Model, user: str) -> dict[str, str]:
            states = {other: model.state(user, other) for other in USERS}
            return {other: state for other, state in states.items() if state is not None}

        @invariant()
        def ties_and_blocks_are_as_the_model_has_them(self) -> None:
            for user in USERS:
                assert self.ties(user) == self.ties_in(self.model, user)
                assert self.blocks(user) == {b for a, b in self.model.blocks if a == user}

        @invariant()
        def whoever_follows_the_inbox_knows_how_all_stand(self) -> None:
            for user in USERS:
                known = dict(circle.told(self.name(user)))
                expected: dict[str, str] = self.ties_in(self.model, user)
                expected |= {b: "blocked" for a, b in self.model.blocks if a == user}
                assert {
                    self.plain(other): state for other, state in known.items() if state is not None
                } == expected

    run_state_machine_as_test(
        Ties,
        settings=settings(
            max_examples=12,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
