"""What the README shows is what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.server_process import BANNER, ROOT, environment

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def block(containing: str) -> str:
    (found,) = [text for text in BLOCKS if containing in text]
    return str(found)


def indented(after: str) -> list[str]:
    """The lines of the indented block that follows a line."""
    _, _, rest = README.partition(after + "\n")
    shown = re.match(r"\n((?:    .*\n)+)", rest)
    assert shown is not None, after
    return [line[4:] for line in shown[1].splitlines()]


def test_the_banner_is_the_servers() -> None:
    (line,) = [line.strip() for line in README.splitlines() if "is up: " in line]
    assert BANNER.match(line)


def test_the_embedders_example_prints_what_it_says() -> None:
    done = subprocess.run(
        [sys.executable, "-c", block("class Add(actors.Actor)")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    expected = indented("prints, beside what the log says of the crash,")
    assert [line for line in done.stdout.splitlines() if line in expected] == expected


def test_the_example_of_a_game_can_be_played() -> None:
    names: dict[str, Any] = {}
    exec(block("class HigherLower(Game)"), names)
    game = names["HigherLower"](7, {})
    game.join("ada")
    with pytest.raises(names["Rejected"]):
        game.input("ada", 0)
    low, high = 1, 100
    while game.result() is None:
        guess = (low + high) // 2
        game.input("ada", guess)
        other = names["HigherLower"](7, {})
        other.restore(game.snapshot())
        assert other.view() == game.view()
        if game.result() is None:
            low, high = (
                (guess + 1, high) if game.view()["hints"][-1][1] == "higher" else (low, guess - 1)
            )
    assert game.result() == {"winner": "ada"}


def test_the_example_of_a_game_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "mygames.py").write_text(block("class HigherLower(Game)"), encoding="utf-8")
    (line,) = re.findall(r'^(higherlower = ".*")$', README, re.MULTILINE)
    shipped = (ROOT / "config.toml").read_text("utf-8")
    (tmp_path / "config.toml").write_text(f"{shipped.rstrip()}\n{line}\n", encoding="utf-8")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    done = subprocess.run(
        [sys.executable, str(ROOT / "server.py"), "check-config"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "mygames:HigherLower" in done.stdout


def test_every_make_target_it_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:^    |`)make ([a-z]+)", README, re.MULTILINE))
    assert named
    assert named <= targets


def test_every_file_it_names_is_there() -> None:
    named = re.findall(r"\]\(([\w/.]+)\)", README)
    named += re.findall(r"`((?:actors|protocol|persistence|bench)/[\w/]+\.(?:py|md))`", README)
    assert [path for path in named if not os.path.exists(ROOT / path)] == []  # noqa: PTH110
