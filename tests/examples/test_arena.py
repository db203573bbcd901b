from __future__ import annotations

import itertools
import math
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors.matches.rules.game import Rejected
from examples.arena import RADIUS, SIZE, Arena, Body, Params, Push

Axis = st.one_of(st.floats(-1, 1), st.sampled_from([-1.0, 0.0, 1.0]))
Inputs = st.lists(
    st.tuples(st.integers(0, 5), st.builds(Push, Axis, Axis), st.integers(0, 12)), max_size=30
)


def new_game(seed: int, players: int = 6, goal: int = 1000) -> Arena:
    game = Arena(seed, Params(goal=goal))
    for number in range(players):
        game.join(f"p{number}")
    return game


def play(game: Arena, inputs: list[tuple[int, Push, int]]) -> None:
    for player, push, ticks in inputs:
        game.input(f"p{player}", push)
        for _ in range(ticks):
            game.tick()


def state(game: Arena) -> Any:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(game.snapshot()))


def check_apart_and_inside(game: Arena) -> None:
    for body in game.bodies.values():
        assert RADIUS <= body.x <= SIZE - RADIUS
        assert RADIUS <= body.y <= SIZE - RADIUS
    for one, other in itertools.combinations(game.bodies.values(), 2):
        assert math.hypot(one.x - other.x, one.y - other.y) >= 2 * RADIUS


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**64 - 1), Inputs)
@example(0, [(0, Push(0.0, 1.25e-162), 1)])  # its square is 0
def test_bodies_stay_inside_and_never_overlap(
    seed: int, inputs: list[tuple[int, Push, int]]
) -> None:
    game = new_game(seed)
    check_apart_and_inside(game)
    for player, push, ticks in inputs:
        game.input(f"p{player}", push)
        for _ in range(ticks):
            game.tick()
            check_apart_and_inside(game)


@pytest.mark.parametrize("push", [Push(1, 1), Push(-1, 0), Push(0, 1)])
def test_a_crowd_in_a_corner_does_not_overlap(push: Push) -> None:
    game = new_game(3, players=8)
    for player in game.bodies:
        game.input(player, push)
    for _ in range(200):
        game.tick()
        check_apart_and_inside(game)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**64 - 1), Inputs)
def test_the_same_seed_and_inputs_give_the_same_match(
    seed: int, inputs: list[tuple[int, Push, int]]
) -> None:
    first, second = new_game(seed), new_game(seed)
    play(first, inputs)
    play(second, inputs)
    assert state(first) == state(second)
    assert first.take_happenings() == second.take_happenings()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**64 - 1), Inputs, Inputs)
def test_a_restored_match_goes_on_like_the_first(
    seed: int, before: list[tuple[int, Push, int]], after: list[tuple[int, Push, int]]
) -> None:
    first = new_game(seed)
    play(first, before)
    second = Arena(seed, Params(goal=1000))
    second.restore(state(first))
    play(first, after)
    play(second, after)
    assert state(first) == state(second)


def test_a_body_moves_at_its_speed_and_no_faster_sideways() -> None:
    for push, far in [(Push(1, 0), 10.0), (Push(0.5, 0), 5.0), (Push(1, 1), 10.0)]:
        game = Arena(1, Params())
        game.bodies["ada"] = Body(10, 10)
        game.input("ada", push)
        for _ in range(20):
            game.tick()
        body = game.bodies["ada"]
        assert math.hypot(body.x - 10, body.y - 10) == pytest.approx(far)


def test_a_body_slides_along_a_wall() -> None:
    game = Arena(1, Params())
    game.bodies["ada"] = Body(SIZE - RADIUS - 0.1, 10)
    game.input("ada", Push(1, 1))
    for _ in range(20):
        game.tick()
    body = game.bodies["ada"]
    assert body.x == pytest.approx(SIZE - RADIUS, abs=1e-5)
    assert body.y == pytest.approx(10 + 10 / math.sqrt(2), abs=0.2)


def test_a_body_is_stopped_by_one_that_stands_in_its_way() -> None:
    game = Arena(1, Params())
    game.bodies |= {"ada": Body(10, 10), "bob": Body(15, 10)}
    game.input("ada", Push(1, 0))
    for _ in range(40):
        game.tick()
    assert game.bodies["ada"].x == pytest.approx(15 - 2 * RADIUS, abs=1e-5)
    assert game.bodies["bob"].x == 15


def test_two_that_are_in_each_others_way_slide_past() -> None:
    game = Arena(1, Params())
    game.bodies |= {"ada": Body(10, 10), "bob": Body(15, 10.3)}
    game.input("ada", Push(1, 0))
    game.input("bob", Push(-1, 0))
    for _ in range(40):
        game.tick()
        check_apart_and_inside(game)
    assert game.bodies["ada"].x > 15
    assert game.bodies["bob"].x < 10


@pytest.mark.parametrize("seed", [42, 50, 51, 143, 210, 434, 839, 1151])
def test_bodies_that_touch_are_not_glued_together(seed: int) -> None:
    # With these seeds they once were: rounding took a slide along for a push into.
    game = new_game(seed, players=4, goal=4)
    ticks = 0
    while game.result() is None:
        if ticks % 4 == 0:
            for (player, body), (x, y) in zip(game.bodies.items(), game.orbs, strict=False):
                far = max(abs(x - body.x), abs(y - body.y), 1.0)
                game.input(player, Push((x - body.x) / far, (y - body.y) / far))
        game.tick()
        check_apart_and_inside(game)
        ticks += 1
        assert ticks < 400


def test_touching_orbs_scores_and_the_goal_ends_the_race() -> None:
    game = Arena(1, Params(goal=2, orbs=1))
    game.join("ada")
    for points in (1, 2):
        game.orbs[0] = (game.bodies["ada"].x, game.bodies["ada"].y)
        game.tick()
        (scored,) = game.take_happenings()
        assert (scored.kind, scored.player, scored.data) == ("scored", "ada", {"points": points})
    assert game.result() == {"winner": "ada", "points": {"ada": 2}}
    with pytest.raises(Rejected):
        game.join("bob")


def test_what_is_no_push_is_no_input() -> None:
    wrongs: list[Any] = [
        {"x": 2, "y": 0}, {"x": 0}, {"x": float("nan"), "y": 0}, {"x": "1", "y": 0}, [],
    ]  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, Arena.input_type)
