"""The rows of matches compared with the model of them that tests with a mock clock use."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from actors.edge.failures import Refused
from actors.matches.commands import OpenMatch, ReportMatches
from actors.matches.entry import MatchEntry
from actors.matches.queries import MatchOfKey, RunningMatches, UnmadeMatches
from actors.matches.rules.room import Limits
from protocol.errors import TOO_MANY_MATCHES
from tests.actors.match_rows import MatchRows
from tests.actors.matches.register import GAMES, Register, opening

LIMITS = Limits(of_all=6, of_user=3, of_address=4, unjoined_ms=10**12)
USERS, KEYS, ADDRESSES = ("ada", "bob", "cyd"), ("k", "l"), ("a", "b")

opens = st.tuples(
    st.sampled_from(USERS),
    st.none() | st.sampled_from(KEYS),
    st.none() | st.sampled_from(ADDRESSES),
    st.sampled_from(GAMES),
)


def test_no_sequence_of_creates_and_ends_tells_the_rows_from_their_model(
    register: Register,
) -> None:
    class Matches(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            register.do("TRUNCATE matches, ended_match_keys")
            register.do("UPDATE match_directory SET running = 0")
            self.model = MatchRows(now_ms=lambda: 0)

        def command(self, one: tuple[Any, ...]) -> OpenMatch:
            user, key, address, game = one
            name = f"{game}-{secrets.token_hex(6)}"
            return opening(user, key=key, address=address, game=game, match=name, limits=LIMITS)

        @rule(one=opens, worker=st.integers(0, 1))
        def create(self, one: tuple[Any, ...], worker: int) -> None:
            command = self.command(one)
            assert told(lambda: register.open(command, worker=worker)) == told(
                lambda: self.model.answer(command)
            )

        @rule(many=st.lists(opens, min_size=2, max_size=8))
        def create_at_once(self, many: list[tuple[Any, ...]]) -> None:
            """Both workers at once, as on two nodes. In some order they did what the model does:
            those that were entered in the order of the list, and of the others each met a limit.
            """
            commands = [self.command(one) for one in many]
            with ThreadPoolExecutor(len(many)) as pool:
                outcomes = list(
                    pool.map(
                        lambda place: told(
                            lambda: register.open(commands[place], worker=place % 2)
                        ),
                        range(len(many)),
                    )
                )
            made = {one.match: one for one in commands}
            for listed in reversed(register.listed()):
                if (entered := made.get(listed.match)) is not None:
                    assert isinstance(self.model.answer(entered), MatchEntry)
            for command, outcome in zip(commands, outcomes, strict=True):
                if outcome[0] == "entry" and outcome[1] == command.match:
                    continue
                # With nothing ended in between, who was refused is refused now, though maybe for
                # another limit that has been reached since. A retry is answered as it was.
                now = told(lambda one=command: self.model.answer(one))
                assert outcome[0] == now[0]
                assert outcome == now or outcome[0] == "refused"

        @rule(data=st.data(), keeps=st.booleans())
        def end(self, data: st.DataObject, keeps: bool) -> None:
            command = ReportMatches([], [(self.some(data), keeps)])
            register.run(command)
            self.model.answer(command)

        @rule(data=st.data(), players=st.integers(0, 3))
        def report(self, data: st.DataObject, players: int) -> None:
            command = ReportMatches([(self.some(data), players)], [])
            register.run(command)
            self.model.answer(command)

        def some(self, data: st.DataObject) -> str:
            # Of creates at once chance decides how many are refused, and what Hypothesis draws must
            # not depend on that.
            names = [*self.model.running, "arena-none"]
            return names[data.draw(st.integers(0, 99)) % len(names)]

        @invariant()
        def both_say_the_same(self) -> None:
            assert [one[:3] for one in register.listed()] == [
                (row.entry.match, row.entry.game, row.players)
                for row in reversed(self.model.running.values())
            ]
            for query in (RunningMatches("", 100), UnmadeMatches(-(10**9), 100)):
                assert sorted(map(nameless, register.ask(query))) == sorted(
                    map(nameless, self.model.answer(query))
                )
            for user in USERS:
                for key in KEYS:
                    of_key = MatchOfKey(user, key)
                    assert register.ask(of_key) == self.model.answer(of_key)
            assert register.is_sound()

    run_state_machine_as_test(
        Matches,
        settings=settings(
            max_examples=25,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def nameless(entry: MatchEntry) -> tuple[str, bool]:
    """Return an entry without its time."""
    return entry.match, entry.start is not None


def told(asking: Any) -> tuple[str, Any]:
    """Return the outcome without its times."""
    try:
        entry: MatchEntry = asking()
    except Refused as refused:
        assert refused.error is TOO_MANY_MATCHES  # noqa: PT017
        return "refused", (refused.detail, refused.retry_in_s is None)
    return "entry", entry.match
