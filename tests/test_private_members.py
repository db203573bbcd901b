"""No module reaches for what another one keeps to itself.

Ruff's SLF001 refuses `other._member`. Here is what it lets pass: exceptions are listed, and a
private name is imported from no module of this project.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("actors", "protocol", "persistence", "bench", "examples", "tests")

MARK = "noqa: " + "SLF001"  # not as one text, or this file would be marked

EXCEPTIONS = {
    # sys._current_frames is the documented way to another thread's stack.
    "actors/runtime/culprit.py": 1,
    "actors/runtime/watchdog.py": 1,
    # Pykka has no other way to say who an actor is.
    "actors/runtime/thread_cell.py": 1,
    # A process has one guard, and what it has logged in the last second keeps it silent.
    "tests/actors/runtime/test_watchdog.py": 1,
    # trio-websocket sends no message in fragments otherwise.
    "tests/protocol/peers.py": 1,
}
"""How many lines of a module reach for a private member all the same, and why."""


def sources() -> Iterator[tuple[str, str]]:
    """The path and the text of each module."""
    for path in [ROOT / "server.py", *(p for one in FOLDERS for p in (ROOT / one).rglob("*.py"))]:
        yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def private_imports(source: str) -> Iterator[str]:
    """The private names that a module imports from modules of this project."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            ours = node.level or (node.module or "").partition(".")[0] in FOLDERS
            for name in node.names:
                if ours and name.name.startswith("_"):
                    yield name.name


def test_private_members_are_reached_for_where_it_is_listed_and_nowhere_else() -> None:
    marked = {path: text.count(MARK) for path, text in sources()}
    assert {path: count for path, count in marked.items() if count} == EXCEPTIONS


def test_no_private_name_is_imported() -> None:
    found = {path: names for path, text in sources() if (names := list(private_imports(text)))}
    assert found == {}


def test_a_private_import_is_found() -> None:
    source = "from .cell import _EMPTY, Cell\nfrom actors.x import _y"
    assert list(private_imports(source)) == ["_EMPTY", "_y"]
