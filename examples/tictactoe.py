"""Tic-tac-toe: a game in turns, in which every move is durable.

The first player to join plays X and begins, the second plays O. Cells are numbered

    0 1 2
    3 4 5
    6 7 8

input   {"cell": 4}
state   {"board": "X...O....", "marks": {"u1": "X", "u2": "O"}, "turn": "u1", "line": []}
        turn: whose move it is, null before the second player came and after the end;
        line: the three cells that won
result  {"winner": "u1", "line": [0, 1, 2], "by": "line"}
        by: "line"; "forfeit", when the other player left; "draw", with winner null
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final

import msgspec
from msgspec import Meta

from actors.matches import Game, Rejected

EMPTY: Final = "."
LINES: Final = (
    (0, 1, 2), (3, 4, 5), (6, 7, 8),
    (0, 3, 6), (1, 4, 7), (2, 5, 8),
    (0, 4, 8), (2, 4, 6),
)  # fmt: skip


class Move(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Put the player's mark on `cell`."""

    cell: Annotated[int, Meta(ge=0, le=8)]


class Board(msgspec.Struct):
    """The whole state, which is also what everyone sees."""

    board: str = EMPTY * 9
    marks: dict[str, str] = {}
    turn: str | None = None
    line: list[int] = []


class TicTacToe(Game):
    """Two players, three in a row."""

    name: ClassVar[str] = "tictactoe"
    min_players: ClassVar[int] = 2
    max_players: ClassVar[int] = 2
    durable_inputs: ClassVar[bool] = True
    input_type: ClassVar[Any] = Move

    def __init__(self, seed: int, params: dict[str, Any]) -> None:
        super().__init__(seed, params)
        self._now = Board()
        self._result: dict[str, Any] | None = None

    def join(self, player: str) -> None:
        if self._now.turn is not None or self._result is not None:
            raise Rejected("the game has begun")
        marks = self._now.marks
        marks[player] = "O" if "X" in marks.values() else "X"
        if len(marks) == 2:
            self._now.turn = next(one for one, mark in marks.items() if mark == "X")

    def leave(self, player: str) -> None:
        begun = len(self._now.marks) == 2
        del self._now.marks[player]
        if begun and self._result is None:
            self._end(next(iter(self._now.marks)), [], "forfeit")

    def input(self, player: str, move: Move) -> None:
        now = self._now
        if player != now.turn:
            raise Rejected("it is not your turn")
        if now.board[move.cell] != EMPTY:
            raise Rejected("the cell is taken")
        mark = now.marks[player]
        now.board = now.board[: move.cell] + mark + now.board[move.cell + 1 :]
        now.turn = next(one for one in now.marks if one != player)
        for line in LINES:
            if all(now.board[cell] == mark for cell in line):
                self._end(player, list(line), "line")
                return
        if EMPTY not in now.board:
            self._end(None, [], "draw")

    def view(self) -> Board:
        return self._now

    def result(self) -> dict[str, Any] | None:
        return self._result

    def snapshot(self) -> Any:
        return {"now": self._now, "result": self._result}

    def restore(self, state: Any) -> None:
        self._now = msgspec.convert(state["now"], Board)
        self._result = state["result"]

    def _end(self, winner: str | None, line: list[int], by: str) -> None:
        self._now.turn = None
        self._now.line = line
        self._result = {"winner": winner, "line": line, "by": by}
