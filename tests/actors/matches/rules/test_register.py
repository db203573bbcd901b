from __future__ import annotations

from collections import Counter

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from actors.matches.rules.register import REFUSED, Closed, Kept, Opened, Register, Stock

KEEP = 3
Step = st.tuples(
    st.sampled_from(["reserve", "release", "open", "close", "refuse", "stock", "forget"]),
    st.integers(0, 7),
)


def opened(number: int) -> Opened:
    """Matches of two users, who give every second one a key of a few."""
    key = f"k{number % 3}" if number % 2 else None
    return Opened(f"m{number}", "chess", number, f"u{number % 2}", key)


def again(register: Register) -> Register:
    """What a recovery makes of the register's stock."""
    packed = msgspec.msgpack.encode(register.stock())
    fresh = Register(KEEP)
    fresh.apply(msgspec.msgpack.decode(packed, type=Stock))
    return fresh


@given(st.lists(Step, max_size=60))
def test_a_register_counts_what_runs_and_is_made_and_finds_every_key_it_keeps(
    steps: list[tuple[str, int]],
) -> None:
    register = Register(KEEP)
    running: dict[str, Opened] = {}
    making: dict[str, Opened] = {}
    kept: list[Kept] = []
    used: set[str] = set()
    for at, (what, number) in enumerate(steps):
        one = opened(number)
        match what:
            case "reserve" if one.match not in used:
                used.add(one.match)
                making[one.match] = one
                register.reserve(one)
            case "release":
                register.release(one.match)
                if making.pop(one.match, None):
                    used.discard(one.match)
            case "open" if one.match in making:
                running[one.match] = making.pop(one.match)
                register.apply(one)
            case "close" | "refuse":
                register.apply(Closed(one.match, REFUSED if what == "refuse" else "over", at))
                if running.pop(one.match, None) and one.key and what == "close":
                    new = Kept(one.user, one.key, one.match, at)
                    kept = [old for old in kept if (old.user, old.key) != (new.user, new.key)]
                    kept = [*kept, new][-KEEP:]
            case "stock":
                register.apply(register.stock())
            case "forget":
                register.forget(at - number)
                kept = [one for one in kept if one.at >= at - number]
        assert register.stock() == Stock(list(running.values()), kept)
        assert register.count() == len(running) + len(making)
        of = Counter(one.user for one in (*running.values(), *making.values()))
        assert {user: register.count_of(user) for user in ("u0", "u1")} == {
            user: of[user] for user in ("u0", "u1")
        }
        for entry in kept:
            assert register.find(entry.user, entry.key) is not None
        recovered = again(register)
        assert recovered.stock() == register.stock()
        assert recovered.count() == len(running)


def test_a_key_is_found_while_its_match_is_made_while_it_runs_and_when_it_has_ended() -> None:
    register, one = Register(KEEP), opened(1)
    assert register.find("u1", "k1") is None
    register.reserve(one)
    assert register.find("u1", "k1") == "m1"
    register.apply(one)
    assert register.find("u1", "k1") == "m1"
    register.apply(Closed("m1", "finished", 9))
    assert register.find("u1", "k1") == "m1"
    assert register.find("u0", "k1") is None
    register.forget(10)
    assert register.find("u1", "k1") is None


def test_of_an_ended_match_without_a_key_nothing_is_kept() -> None:
    register, one = Register(KEEP), opened(2)
    register.apply(one)
    register.apply(Closed(one.match, "finished", 9))
    assert len(register) == 0
    assert register.stock() == Stock([], [])


def test_what_a_match_was_to_be_made_of_is_kept_until_it_is_there() -> None:
    register = Register(KEEP)
    register.apply(Opened("m1", "chess", 0, "ada", "k", {"board": "x" * 1000}, 7))
    assert register.stock().running[0].params is not None
    register.made("m1")
    assert register.stock().running == [Opened("m1", "chess", 0, "ada", "k")]
    register.made("m2")
