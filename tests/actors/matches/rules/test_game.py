from __future__ import annotations

from typing import Any

import pytest

import actors.matches.rules.game
from actors.matches.rules.game import Game, Happening, Rejected


def test_the_game_in_the_documentation_runs() -> None:
    assert actors.matches.rules.game.__doc__ is not None
    code = actors.matches.rules.game.__doc__.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {"Game": Game, "Any": Any}
    exec(code, names)
    countdown: Game = names["Countdown"](1, {})
    for _ in range(599):
        countdown.tick()
    again: Game = names["Countdown"](1, {})
    again.restore(countdown.snapshot())
    assert again.view() == {"left": 1}
    assert again.result() is None
    again.tick()
    assert again.result() == {"done": True}


def test_what_happened_is_taken_once() -> None:
    game = Game(1, {})
    game.happened("scored", "ada", 3)
    game.happened("whistle")
    assert game.take_happenings() == [Happening("scored", "ada", 3), Happening("whistle")]
    assert game.take_happenings() == []


def test_a_rejection_says_why() -> None:
    with pytest.raises(Rejected, match="not your turn") as caught:
        raise Rejected("not your turn")
    assert caught.value.message == "not your turn"


@pytest.mark.parametrize(
    "call",
    [
        lambda game: game.input("ada", 1),
        lambda game: game.view(),
        lambda game: game.view_for("ada"),
        lambda game: game.snapshot(),
        lambda game: game.restore(None),
    ],
)
def test_what_a_game_must_write_has_no_default(call: Any) -> None:
    with pytest.raises(NotImplementedError):
        call(Game(1, {}))
