"""What config.toml names as a game is one, or the server says in one line why not."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from actors.matches.games import NoSuchGame, load_games

_numbers = itertools.count(1)

GAME = "from actors.matches.rules.game import Game\nclass Mine(Game):\n    "


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder for an embedder's module, with a module name that no other test uses."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return f"embedders_game_{next(_numbers)}"


def refused(tmp_path: Path, path: str, source: str) -> str:
    (tmp_path / f"{path}.py").write_text(source)
    with pytest.raises(NoSuchGame) as told:
        load_games({"mine": f"{path}:Mine"})
    text = str(told.value)
    assert text.startswith("[games] mine: ")
    assert "\n" not in text
    return text.removeprefix("[games] mine: ")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("\nraise RuntimeError('two\\nlines')", "RuntimeError: two lines ({file}, line 2)"),
        ("def broken(:", "SyntaxError: invalid syntax ({name}, line 1)"),
        ("from json import nothing", "ImportError: cannot import name 'nothing' from 'json'"),
        ("raise SystemExit(0)", "SystemExit: 0 ({file}, line 1)"),
    ],
)
def test_a_module_that_fails_when_imported_is_named_with_the_line(
    tmp_path: Path, path: str, source: str, text: str
) -> None:
    file = tmp_path / f"{path}.py"
    told = refused(tmp_path, path, source)
    expected = text.format(file=file, name=file.name)
    assert told.startswith(f"{path} cannot be imported: {expected}")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("tick_hz = -1", "tick_hz = -1 is not allowed: must be a number from 0 up to 1000"),
        ("tick_hz = float('nan')", "tick_hz = nan is not allowed: must be a number from 0 up to"),
        ("tick_hz = '20'", "tick_hz = '20' is not allowed: must be a number from 0 up to 1000"),
        ("max_players = 0", "max_players = 0 is not allowed: must be a whole number from 1"),
        ("min_players = 3", "min_players = 3 is more than max_players = 2"),
        ("input_type = 'nowhere'", "input_type = 'nowhere' is no type"),
        ("params_type = 3", "params_type = 3 is no type"),
    ],
)
def test_a_class_that_no_match_could_play_is_refused(
    tmp_path: Path, path: str, body: str, text: str
) -> None:
    assert refused(tmp_path, path, GAME + body).startswith(f"{path}:Mine: {text}")


@pytest.mark.parametrize("name", ["", "two words", "with-hyphen", "x" * 49, "ü"])
def test_a_name_that_no_match_could_bear_is_refused(name: str) -> None:
    with pytest.raises(NoSuchGame, match=r"a name is 1 to 48 of letters, digits, _ \. :"):
        load_games({name: "examples.tictactoe:TicTacToe"})
