"""The wheel in an empty environment, as one gets it from an index and not from a checkout.

Nothing is downloaded. For each extra, exactly what the wheel's metadata asks for is linked from the
environment of these tests into a new one.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
from packaging.requirements import Requirement

from actors.node.exits import Exit
from protocol.client import connect
from tests.pages import page
from tests.server_process import ROOT, Server, environment

EXAMPLE = page("actors/README.md").programs[0].text

EMBEDDER = '''
"""What an embedder writes: actors of one's own, supervised, asked, watched, durable."""

from typing import Any

import actors
import msgspec
import trio


class Add(msgspec.Struct, frozen=True):
    amount: int


class Counter(actors.Actor):
    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
        self.value = 0

    @actors.handles(Add)
    def add(self, message: Add) -> int:
        self.value += message.amount
        return self.value

    @actors.handles(str)
    async def wait(self, text: str) -> str:
        await trio.sleep(0)
        return text

    def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
        print(exception_value)


class Ledger(actors.PersistentActor):
    def __init__(self, key: str) -> None:
        super().__init__()
        self.total = 0

    def apply(self, event: Any) -> None:
        self.total += event

    def snapshot(self) -> Any:
        return self.total

    def restore(self, state: Any, schema: int) -> None:
        self.total = state


class Blocking(actors.ThreadingActor):
    pass


async def main() -> None:
    async with actors.ActorSystem() as system:
        system.register(actors.Kind("counter", Counter))
        ref: actors.ActorRef = system.ref("counter", "visits")
        ref.tell(Add(2))
        future: actors.Future[Any] = ref.ask(Add(3), timeout=1.0)
        print(await future)
        try:
            await ref.ask(7.0)
        except (actors.ActorDeadError, actors.AskTimeout, TypeError) as error:
            print(error)
        supervisor = system.supervise(
            [actors.ChildSpec(id="one", factory=lambda: Counter("one"))], key="mine"
        )
        await supervisor.started()


if __name__ == "__main__":
    trio.run(main)
'''

MISTAKEN = """
import actors


class Broken(actors.Actor):
    @actors.handles(int)
    def add(self, amount: int) -> None:
        self.missing.append(amount)


actors.Kind(7, Broken)
actors.ActorSystem().ref("counter")
"""

CLIENT = """
import trio
from protocol.client import Gap, Room, connect
from protocol.messages.room import Message


async def listen(room: Room) -> None:
    async for update in room:
        if isinstance(update, Message):
            print(update.name, update.body)
        elif isinstance(update, Gap):
            print(update.first, update.last)


async def main() -> None:
    async with connect("ws://127.0.0.1:1/ws", name="ada") as session:
        await listen(await session.join("lobby"))


trio.run(main)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, because a build leaves folders beside its sources."""
    folder = tmp_path_factory.mktemp("wheel")
    leave = shutil.ignore_patterns(
        ".*", "__pycache__", "*.egg-info", "build", "data", "node_modules", "results"
    )
    shutil.copytree(ROOT, folder / "source", ignore=leave)
    subprocess.run(
        [
            *[sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"],
            *["--no-deps", "--no-index", "--no-build-isolation"],
            *["--wheel-dir", str(folder), str(folder / "source")],
        ],
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("greenroom-*.whl")
    return built


class Environment:
    """A virtual environment with the wheel and what its `extras` ask for, and nothing else."""

    def __init__(self, folder: Path, wheel: Path, *extras: str) -> None:
        self.folder = folder
        venv = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
        subprocess.run(venv, check=True, capture_output=True)
        self.python = folder / "bin" / "python"
        subprocess.run(
            [
                *[sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet"],
                *["--disable-pip-version-check", "--no-deps", "--no-index", str(wheel)],
            ],
            check=True,
            capture_output=True,
        )
        (self.packages,) = folder.glob("lib/python*/site-packages")
        link(self.packages, needed(wheel, extras))

    def run(
        self, *command: str, cwd: Path | None = None, path: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of this environment. `path`: PYTHONPATH."""
        return subprocess.run(
            [str(self.folder / "bin" / command[0]), *command[1:]],
            cwd=cwd or self.folder,
            env=environment() | ({"PYTHONPATH": str(path)} if path else {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def link(packages: Path, distributions: Sequence[importlib.metadata.Distribution]) -> None:
    """Make packages importable from a folder, unless they are there."""
    for distribution in distributions:
        for file in distribution.files or ():
            top = file.parts[0]
            if top not in {"..", "__pycache__"} and not (packages / top).exists():
                (packages / top).symlink_to(Path(str(distribution.locate_file(top))))


def needed(wheel: Path, extras: Sequence[str]) -> list[importlib.metadata.Distribution]:
    """What pip would install beside the wheel, found in the environment of these tests."""
    (metadata,) = (path for path in zipfile.Path(wheel).iterdir() if path.name.endswith("-info"))
    found: dict[str, importlib.metadata.Distribution] = {}
    seen: set[tuple[str, str]] = set()

    def follow(distribution: importlib.metadata.Distribution, extra: str) -> None:
        if (distribution.name, extra) in seen:
            return
        seen.add((distribution.name, extra))
        for text in distribution.requires or ():
            wanted = Requirement(text)
            if wanted.marker is not None and not wanted.marker.evaluate({"extra": extra}):
                continue
            if wanted.name == "greenroom":
                target = distribution
            else:
                target = found[wanted.name] = importlib.metadata.distribution(wanted.name)
            for each in ("", *wanted.extras):
                follow(target, each)

    ours = importlib.metadata.PathDistribution(metadata)
    for extra in ("", *extras):
        follow(ours, extra)
    return list(found.values())


@pytest.fixture(scope="module")
def runtime(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """`pip install greenroom`"""
    return Environment(tmp_path_factory.mktemp("runtime"), wheel)


@pytest.fixture(scope="module")
def full(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """`pip install 'greenroom[server,embedded,client]'`"""
    folder = tmp_path_factory.mktemp("full")
    return Environment(folder, wheel, "server", "embedded", "client")


# --- what is in it -------------------------------------------------------------------------------


def test_its_top_level_names_are_these(wheel: Path) -> None:
    top = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "actors", "persistence", "protocol", "server.py",
    }  # fmt: skip


def test_every_migration_is_in_it(wheel: Path) -> None:
    there = {path.relative_to(ROOT) for path in (ROOT / "persistence").rglob("*.sql")}
    packed = {Path(name) for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".sql")}
    assert packed == there


def test_the_built_typescript_client_is_in_it_and_not_its_tools(wheel: Path) -> None:
    folder = ROOT / "protocol" / "js"
    there = {path.relative_to(ROOT) for path in (folder / "dist").rglob("*") if path.is_file()}
    there |= {Path("protocol/js/README.md"), Path("protocol/js/package.json")}
    names = map(Path, zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if name.is_relative_to("protocol/js")} == there


def test_the_runtime_alone_asks_for_four_packages(wheel: Path) -> None:
    direct = {"msgspec", "pykka", "structlog", "trio"}
    names = {distribution.name.lower() for distribution in needed(wheel, [])}
    assert direct <= names
    # What trio itself needs, by platform.
    assert names - direct <= {"attrs", "idna", "outcome", "sniffio", "sortedcontainers"} | {
        "cffi", "pycparser", "typing_extensions",
    }  # fmt: skip


# --- the runtime alone ---------------------------------------------------------------------------


def test_the_embedders_example_of_the_readme_runs_on_the_runtime_alone(
    runtime: Environment,
) -> None:
    done = runtime.run("python", "-W", "error", "-c", EXAMPLE)
    assert "restarted, and counts from 0" in done.stdout, done.stderr


def test_version_and_help_need_no_extra(runtime: Environment) -> None:
    assert runtime.run("greenroom", "--version").stdout.startswith("greenroom ")
    assert "exit codes" in runtime.run("greenroom", "--help").stdout


@pytest.mark.parametrize(
    ("extra", "imports"),
    [
        ("stores", "persistence, persistence.postgres, persistence.redis"),
        ("embedded", "persistence.embedded"),
        ("client", "protocol.client"),
        ("server", "server, actors.node.serving"),
    ],
)
def test_each_extra_brings_what_it_is_for(
    runtime: Environment, wheel: Path, tmp_path: Path, extra: str, imports: str
) -> None:
    link(tmp_path, needed(wheel, [extra]))
    done = runtime.run("python", "-W", "error", "-c", f"import {imports}", path=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_command_that_needs_an_extra_says_which_in_one_line(runtime: Environment) -> None:
    done = runtime.run("greenroom")
    assert done.returncode == Exit.INCOMPLETE
    (line,) = done.stderr.splitlines()
    assert line.startswith("greenroom: serve needs the package ")
    assert line.endswith("; pip install 'greenroom[server,embedded]' brings all")
    done = runtime.run("python", "-m", "protocol.client")
    (line,) = done.stderr.splitlines()
    assert line.startswith("the client needs the package trio_websocket, which ")
    assert "pip install 'greenroom[client]' brings it" in line
    assert done.returncode == 1


def test_other_modules_of_common_names_do_not_get_in_the_way(
    runtime: Environment, full: Environment, tmp_path: Path
) -> None:
    for name in ("config", "examples", "games", "settings", "logs"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not yours')\n", "utf-8")
    assert runtime.run("greenroom", "--version", path=tmp_path).returncode == 0
    done = full.run("greenroom", "check-config", cwd=tmp_path, path=tmp_path)
    assert (done.returncode, done.stdout) == (0, "no config.toml here: valid, all defaults\n")


# --- types ---------------------------------------------------------------------------------------


def strict(
    where: Environment, folder: Path, program: str, *options: str
) -> subprocess.CompletedProcess[str]:
    (folder / "program.py").write_text(program, "utf-8")
    return subprocess.run(
        [
            *[sys.executable, "-m", "mypy", "--strict", "--no-error-summary"],
            *["--python-executable", str(where.python), *options, "program.py"],
        ],
        cwd=folder,
        env=environment() | {"MYPY_CACHE_DIR": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_embedders_program_is_type_checked_strictly(
    runtime: Environment, tmp_path: Path
) -> None:
    done = strict(runtime, tmp_path, EMBEDDER)
    assert (done.stdout, done.returncode) == ("", 0)
    # And not because all of it is Any.
    done = strict(runtime, tmp_path, MISTAKEN)
    assert re.findall(r"program.py:(\d+): error: .*\[([a-z-]+)\]", done.stdout) == [
        ("8", "attr-defined"), ("11", "arg-type"), ("12", "call-arg"),
    ], done.stdout  # fmt: skip


def test_a_program_with_the_client_is_type_checked_strictly(
    full: Environment, tmp_path: Path
) -> None:
    done = strict(full, tmp_path, CLIENT)
    assert (done.stdout, done.returncode) == ("", 0)
    for shown in page("protocol/README.md").programs:
        done = strict(full, tmp_path, shown.text, "--allow-untyped-defs", "--allow-untyped-calls")
        assert (done.stdout, done.returncode) == ("", 0)


# --- a server from it ----------------------------------------------------------------------------


async def test_a_server_from_the_wheel_starts_in_an_empty_folder(
    full: Environment, tmp_path: Path
) -> None:
    with await trio.to_thread.run_sync(
        lambda: Server(
            tmp_path / "data",
            entry=(str(full.folder / "bin" / "greenroom"),),
            python=str(full.python),
            cwd=tmp_path,
        )
    ) as server:
        with trio.fail_after(120):
            async with connect(server.ws, name="ada") as session:
                room = await session.join("lobby")
                assert (await room.send("hi")).offset == 1
        assert await trio.to_thread.run_sync(server.stop) == Exit.OK
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_game_is_found_beside_the_config_that_names_it(full: Environment, tmp_path: Path) -> None:
    """That holds for the installed command, too, although its folder is another one."""
    (tmp_path / "mygames.py").write_text(
        "from actors.matches import Game\nclass Mine(Game):\n    name = 'mine'\n",
        "utf-8",
    )
    (tmp_path / "config.toml").write_text('[games]\nmine = "mygames:Mine"\n', "utf-8")
    done = full.run("greenroom", "check-config", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "games.mine = 'mygames:Mine'" in done.stdout
    elsewhere = full.run("greenroom", "check-config", "--config", str(tmp_path / "config.toml"))
    assert elsewhere.returncode == 0, elsewhere.stderr
