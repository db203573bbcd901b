"""What the pages say and show exists and happens."""

from __future__ import annotations

import builtins
import inspect
import os
import re
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

import actors
import actors.runtime.memory
import actors.runtime.testing
import actors.runtime.watchdog
import persistence
import server
from actors.node.config import known_keys
from actors.node.exits import EXITS
from actors.node.services import load_services
from bench.__main__ import SCENARIOS
from protocol.client import connect
from protocol.messages import EVERY_OP
from tests.chaos.checker import RULES
from tests.pages import Block, Page, page, pages
from tests.server_process import BANNER, ROOT, Server, environment

SERVICES = load_services(server.SERVICES)
PAGES = list(pages())
EMBEDDERS = page("actors/README.md")
GAMES = page("actors/matches/README.md")
OPERATORS = page("actors/node/README.md")
CLIENTS = page("protocol/README.md")
DEFAULT_URL = "ws://127.0.0.1:7350/ws"
API_URL = "http://127.0.0.1:7349"
OURS = ("bench", "examples", "protocol", "tests")
"""Packages whose programs the pages may name."""


def call(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment() | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# --- what they name ------------------------------------------------------------------------------


@pytest.mark.parametrize("one", PAGES, ids=lambda one: one.name)
def test_every_link_leads_to_a_file_and_a_heading(one: Page) -> None:
    for link in one.links:
        path, _, anchor = link.partition("#")
        target = Path(os.path.normpath(one.folder / path)) if path else ROOT / one.name
        assert target.exists(), link
        if anchor:
            assert anchor in page(str(target.relative_to(ROOT))).anchors, link


@pytest.mark.parametrize("one", PAGES, ids=lambda one: one.name)
def test_every_file_that_a_page_names_is_there(one: Page) -> None:
    named = {word for word in one.words if re.fullmatch(r"[\w./-]+\.(py|md|toml|sql)", word)}
    for name in named - set(one.files):
        assert (ROOT / name).exists() or (one.folder / name).exists(), name


@pytest.mark.parametrize("one", PAGES, ids=lambda one: one.name)
def test_every_key_that_a_page_names_is_in_the_configuration(one: Page) -> None:
    keys = known_keys(SERVICES)
    named = re.findall(r"`\[?(\w+)\.(\w+)\b", one.text)
    named += re.findall(r"--set (\w+)\.(\w+)=", one.text)
    named += [(a.lower(), b.lower()) for a, b in re.findall(r"GREENROOM_([A-Z]+)__(\w+)", one.text)]
    for section, key in named:
        if f"{section}.{key}" in EVERY_OP.ops:
            continue
        if section in keys and key not in {"py", "log"}:  # server.py, postgres.log
            assert not keys[section] or key in keys[section], f"{section}.{key}"
    assert set(re.findall(r"`\[(\w+)\]`", one.text)) <= set(keys)


def test_every_metric_that_a_page_names_is_there() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "actors").rglob("*.py"))
    named = {name for one in PAGES for name in re.findall(r"\bgreenroom_(\w+)", one.text)}
    assert named
    for name in named:
        assert f'"{name.removesuffix("_total")}"' in source, name


def test_the_page_for_operators_has_every_exit_code() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", OPERATORS.text, re.MULTILINE)
    assert rows == [(str(int(code)), meaning) for code, meaning in EXITS.items()]


def test_every_guarantee_has_the_rule_that_judges_it() -> None:
    rows = re.findall(r"^\| .+ \| ((?:`\w+`(?:, )?)+) \| \[", OPERATORS.text, re.MULTILINE)
    named = {rule for row in rows for rule in re.findall(r"\w+", row)}
    assert named == {rule.__name__ for rule in RULES}


def test_the_page_for_load_testers_lists_every_scenario() -> None:
    cells = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", page("bench/README.md").text, re.MULTILINE)
    assert set(SCENARIOS) <= {name for cell in cells for name in re.findall(r"\w+", cell)}


def test_every_class_that_the_page_for_embedders_names_is_there() -> None:
    from actors.cluster import admission, errors
    from actors.runtime import deadline
    from persistence import settings

    runtime = actors.runtime
    more = (runtime.memory, runtime.testing, runtime.watchdog, deadline)
    places = (actors, *more, admission, errors, settings, persistence, builtins)
    known = {name for place in places for name in dir(place)}
    known |= set(re.findall(r"^class (\w+)", EMBEDDERS.text, re.MULTILINE))
    named = {word for word in EMBEDDERS.words if re.fullmatch(r"[A-Z][a-z]\w+", word)}
    assert named - known == set()


def test_every_method_that_the_page_for_game_developers_names_is_there() -> None:
    from actors.matches.rules.game import Game

    rows = re.findall(r"^\| (`.*?`.*?) \| .+ \|$", GAMES.text.split("\n## ")[2], re.MULTILINE)
    methods = {name for row in rows for name in re.findall(r"`(\w+)(?:\(\w*\))?`", row)}
    there = {name for name, what in vars(Game).items() if inspect.isfunction(what)}
    by_the_game = {"__init__", "happened", "take_happenings"}
    assert methods - set(Game.__annotations__) == there - by_the_game


# --- what they have one type ---------------------------------------------------------------------


def test_every_make_target_that_a_page_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    lines = [line for one in PAGES for line in one.commands if line.startswith("make ")]
    named = {
        word
        for line in lines
        for word in shlex.split(line.split(" ARGS=")[0])[1:]
        if re.fullmatch(r"[a-z-]+", word)
    }
    assert named
    assert named <= targets


def programs() -> dict[str, set[str]]:
    """Module, or `server.py` and its command -> the options that pages give it."""
    found: dict[str, set[str]] = {}
    for line in (line for one in PAGES for line in one.commands):
        run = re.search(r"python (?:-m ([\w.]*\w)|(server\.py))(.*)", line)
        run = run or re.search(r"^()(\S*/greenroom)( .*)", line)
        if run is None or (run[1] and run[1].partition(".")[0] not in OURS):
            continue
        options = set(re.findall(r"(?<!\S)--[a-z-]+", run[3]))
        words = re.match(r"(?: [a-z][a-z-]*(?!\S))*", run[3])
        assert words is not None
        found.setdefault(run[1] or f"server.py{words[0]}", set()).update(options)
    return found


PROGRAMS = programs()


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_every_command_that_a_page_names_has_the_options_it_is_given(program: str) -> None:
    run = program.split() if program.startswith("server.py") else ["-m", program]
    done = call(sys.executable, *run, "--help")
    assert done.returncode == 0, done.stderr
    for option in PROGRAMS[program] - {"--help"}:
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", done.stdout), option


# --- what they show ------------------------------------------------------------------------------


def test_the_banner_is_the_servers() -> None:
    (line,) = [line.strip() for line in page("README.md").text.splitlines() if "is up: " in line]
    assert BANNER.match(line)


def saved(one: Page, folder: Path) -> Path:
    """A folder with the files that a page tells its reader to save."""
    for name, text in one.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def alone(one: Page) -> list[Block]:
    return [block for block in one.programs if DEFAULT_URL not in block.text]


@pytest.mark.parametrize(
    ("one", "program"),
    [
        pytest.param(one, program, id=f"{one.name}-{number}")
        for one in PAGES
        for number, program in enumerate(alone(one))
    ],
)
def test_every_program_prints_what_its_page_says(one: Page, program: Block, tmp_path: Path) -> None:
    done = call(sys.executable, "-W", "error", "-c", program.text, cwd=saved(one, tmp_path))
    assert done.returncode == 0, done.stderr
    # Beside it stands what the log says of a crash.
    assert [line for line in done.stdout.splitlines() if line in program.prints] == program.prints


@pytest.mark.parametrize("one", [EMBEDDERS, GAMES], ids=lambda one: one.name)
def test_the_tests_that_a_page_shows_pass(one: Page, tmp_path: Path) -> None:
    done = call(sys.executable, "-m", "pytest", "-W", "error", cwd=saved(one, tmp_path))
    assert done.returncode == 0, done.stdout
    shown = sum(text.count("def test_") for text in one.files.values())
    assert f"{shown} passed" in done.stdout


def test_no_block_is_left_out() -> None:
    for one in PAGES:
        for block in one.blocks:
            if block.language == "python":
                runs = block in one.programs or block.file in one.files
                assert runs, f"{one.name}: {block.text}"
                assert DEFAULT_URL not in block.text or one in (CLIENTS, GAMES)
            else:
                assert block.language in {"text", "toml", "mermaid", "json", "hex", "http", "js"}, (
                    one.name
                )


def test_the_games_are_played_on_a_server_and_a_copy_of_its_data_is_a_backup(
    tmp_path: Path,
) -> None:
    folder = saved(GAMES, tmp_path)
    named = call(sys.executable, str(ROOT / "server.py"), "check-config", cwd=folder)
    assert "race:Race" in named.stdout, named.stderr
    with Server(folder / "data", cwd=folder) as server:
        run = partial(call, sys.executable, "-u", "-c", cwd=folder)
        (play,) = [one for one in GAMES.programs if DEFAULT_URL in one.text]
        done = run(play.text.replace(DEFAULT_URL, server.ws))
        assert (done.stdout.splitlines(), done.stderr) == (play.prints, "")
        talk, *others = CLIENTS.programs
        assert len(others) == 3
        for program in others:
            done = run(program.text.replace(DEFAULT_URL, server.ws).replace(API_URL, server.api))
            assert (done.stdout.splitlines(), done.stderr) == (program.prints, "")
        with subprocess.Popen(
            [sys.executable, "-u", "-c", talk.text.replace(DEFAULT_URL, server.ws)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        ) as talking:
            assert talking.stdout is not None
            assert talking.stdout.readline() == "ada hi\n"
            talking.kill()
        assert server.stop() == 0
    copy, start = [line for line in OPERATORS.commands if line.endswith("data.backup")]
    assert call(*shlex.split(copy), cwd=folder).returncode == 0
    data = start.rpartition("=")[2]
    with Server(folder / data, cwd=folder) as server:
        assert trio.run(said, server.ws) == ["hi"]
        assert server.stop() == 0


async def said(url: str) -> list[str]:
    """Return what was said in the lobby."""
    async with connect(url, name="bob") as session:
        return [message.body for message in (await session.join("lobby")).backlog]
