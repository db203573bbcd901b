"""The package of the TypeScript client as its user has it, against a live server."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.typescript import CLIENT
from tests.pages import page
from tests.protocol.js.tools import needs_node, node
from tests.server_process import Server, environment

pytestmark = needs_node

DEFAULT_URL = "ws://127.0.0.1:7350/ws"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("typescript")) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which somebody has installed the package."""
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "greenroom").symlink_to(CLIENT)
    return tmp_path


@pytest.mark.parametrize("name", ["live.test.mjs", "access.test.mjs", "errors.test.mjs"])
def test_the_tests_that_node_runs_pass(name: str, server: Server, folder: Path) -> None:
    shutil.copy(Path(__file__).with_name(name), folder)
    done = subprocess.run(
        node("--test", "--test-reporter=spec", name),
        cwd=folder,
        env=environment() | {"GREENROOM_URL": server.ws},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped 0" in done.stdout


def test_the_first_program_of_its_page_works_as_pasted(server: Server, folder: Path) -> None:
    (program,) = [one for one in page("protocol/js/README.md").blocks if one.language == "js"]
    assert DEFAULT_URL in program.text
    (folder / "hello.mjs").write_text(program.text.replace(DEFAULT_URL, server.ws), "utf-8")
    with subprocess.Popen(
        node("hello.mjs"), cwd=folder, stdout=subprocess.PIPE, text=True
    ) as talking:
        assert talking.stdout is not None
        assert talking.stdout.readline() == "ada hi\n"
        talking.kill()
