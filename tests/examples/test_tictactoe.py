from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.matches.rules.game import Rejected
from examples.tictactoe import LINES, Move, TicTacToe

Moves = st.lists(st.tuples(st.sampled_from(["ada", "bob"]), st.integers(0, 8)), max_size=40)


def new_game() -> TicTacToe:
    game = TicTacToe(1, {})
    game.join("ada")
    game.join("bob")
    return game


def through_msgpack(value: Any) -> Any:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(value))


def lines_of(board: str, mark: str) -> list[tuple[int, int, int]]:
    return [line for line in LINES if all(board[cell] == mark for cell in line)]


@given(Moves)
def test_never_two_winners_and_marks_alternate(moves: list[tuple[str, int]]) -> None:
    game = new_game()
    for player, cell in moves:
        before = through_msgpack(game.view())
        try:
            game.input(player, Move(cell))
        except Rejected:
            assert through_msgpack(game.view()) == before
        board = game.view().board
        assert board.count("X") - board.count("O") in {0, 1}
        assert not (lines_of(board, "X") and lines_of(board, "O"))
        result = game.result()
        if result is not None:
            assert game.view().turn is None
            assert (result["winner"] is None) == (not lines_of(board, "X") + lines_of(board, "O"))


@given(Moves, st.integers(0, 40))
def test_a_restored_game_goes_on_like_the_first(moves: list[tuple[str, int]], cut: int) -> None:
    game = new_game()
    other: TicTacToe | None = None
    for index, (player, cell) in enumerate(moves):
        if index == cut:
            other = TicTacToe(1, {})
            other.restore(through_msgpack(game.snapshot()))
        for one in (game, other):
            if one is not None:
                with contextlib.suppress(Rejected):
                    one.input(player, Move(cell))
    if other is not None:
        assert other.view() == game.view()
        assert other.result() == game.result()


def test_three_in_a_row_wins() -> None:
    game = new_game()
    for player, cell in [("ada", 0), ("bob", 3), ("ada", 1), ("bob", 4), ("ada", 2)]:
        game.input(player, Move(cell))
    assert game.result() == {"winner": "ada", "line": [0, 1, 2], "by": "line"}


def test_a_full_board_is_a_draw() -> None:
    game = new_game()
    for index, cell in enumerate([0, 1, 2, 4, 3, 5, 7, 6, 8]):
        game.input("ada" if index % 2 == 0 else "bob", Move(cell))
    assert game.result() == {"winner": None, "line": [], "by": "draw"}


def test_who_leaves_a_running_game_forfeits_it() -> None:
    game = new_game()
    game.leave("ada")
    assert game.result() == {"winner": "bob", "line": [], "by": "forfeit"}


def test_who_leaves_before_the_start_makes_room() -> None:
    game = TicTacToe(1, {})
    game.join("ada")
    game.leave("ada")
    game.join("bob")
    game.join("cyd")
    assert game.result() is None
    assert game.view().turn == "bob"


@pytest.mark.parametrize(
    ("player", "cell", "why"),
    [("bob", 0, "it is not your turn"), ("ada", 4, "the cell is taken")],
)
def test_what_the_rules_forbid_is_rejected(player: str, cell: int, why: str) -> None:
    game = new_game()
    game.input("ada", Move(4))
    game.input("bob", Move(8))
    with pytest.raises(Rejected) as caught:
        game.input(player, Move(cell))
    assert caught.value.message == why
