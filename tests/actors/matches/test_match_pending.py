from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actors.matches.pending import SPARE, Pending
from actors.runtime.future import Future

Step = st.tuples(st.sampled_from(["put", "commit", "fail"]), st.integers(0, 99))


@given(st.lists(Step, max_size=200))
def test_a_player_waits_for_the_last_that_is_not_durable_and_nothing_else_is_kept_for_long(
    steps: list[tuple[str, int]],
) -> None:
    pending, last = Pending(), dict[str, Future[Any]]()
    most = 0
    for what, number in steps:
        player = f"user{number}"
        if what == "put":
            last[player] = Future()
            pending.put(player, last[player])
        elif player in last and not last[player].done:
            if what == "commit":
                last[player].set(None)
            else:
                last[player].set_exception(RuntimeError("fenced"))
        waited_for = {
            who: one for who, one in last.items() if not one.done or one.exception() is not None
        }
        most = max(most, len(waited_for))
        for who, one in last.items():
            assert pending.get(who) is (one if who in waited_for else None)
        assert len(pending) <= 2 * most + SPARE
    assert pending.get("nobody") is None
