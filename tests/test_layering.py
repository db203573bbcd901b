"""Imports run one way: server, bench, tests -> actors/*.py -> runtime, protocol, persistence."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server_process import ROOT

OURS = {"actors", "protocol", "persistence", "server", "config", "bench", "tests", "examples"}
MAY_IMPORT = {
    "actors/rules": ("actors.rules",),
    "actors/runtime": ("actors.runtime",),
    "protocol": ("protocol",),
    "persistence": ("persistence",),
    "actors": ("actors", "protocol", "persistence"),
    "examples": ("actors", "protocol", "persistence", "examples"),
}
"""Folder -> what of ours its files may import. The longest folder that fits counts."""


def sources(folder: str) -> list[Path]:
    deeper = [ROOT / other for other in MAY_IMPORT if other.startswith(f"{folder}/")]
    return [
        file
        for file in sorted((ROOT / folder).rglob("*.py"))
        if not any(file.is_relative_to(other) for other in deeper)
    ]


def imports(file: Path) -> Iterator[str]:
    """Every module that a file names in an import, in full."""
    package = file.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            yield ".".join((*base, *((node.module,) if node.module else ())))


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_only_what_is_below_it(folder: str) -> None:
    files = sources(folder)
    assert files
    wrong = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in files
        for name in imports(file)
        if name.partition(".")[0] in OURS
        and not any(name == top or name.startswith(f"{top}.") for top in MAY_IMPORT[folder])
    ]
    assert wrong == []


def test_rules_know_no_loop_no_socket_no_clock() -> None:
    allowed = {"actors", "msgspec", "__future__", "collections", "dataclasses", "random", "typing"}
    allowed |= {"base64", "enum", "functools", "hashlib", "itertools", "math"}
    found = {name.partition(".")[0] for file in sources("actors/rules") for name in imports(file)}
    assert found - allowed == set()


def test_importing_actors_brings_no_game_no_driver_no_socket_library() -> None:
    code = "import sys, actors; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    brought = set(done.stdout.split())
    drivers = {"psycopg", "redis", "websockets", "trio_websocket", "starlette", "hypercorn"}
    assert drivers & {name.partition(".")[0] for name in brought} == set()
    ours = {name for name in brought if name.partition(".")[0] in OURS}
    assert [
        name for name in ours if name != "actors" and not name.startswith("actors.runtime")
    ] == []
