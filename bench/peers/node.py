"""Peers on Node.js. Their packages are installed at the first use, into a folder git ignores."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bench.child import ChildServer

FOLDER = Path(__file__).parent
INSTALL_TIMEOUT_S = 300

Serving = Callable[[int | None], AbstractContextManager[ChildServer]]


def installed() -> str:
    """Install what package.json names, unless it is there; return the path of `node`.

    Raises:
        RuntimeError: there is no Node.js or no npm, or the registry cannot be reached.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise RuntimeError("this peer needs Node.js 20 or newer, with npm")
    wanted = FOLDER / "package.json"
    stamp = FOLDER / "node_modules" / ".installed"
    if not stamp.exists() or stamp.read_bytes() != wanted.read_bytes():
        # --legacy-peer-deps: Colyseus names peer dependencies that are not needed here, some of
        # which npm would fetch from outside its registry.
        command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock",
                   "--legacy-peer-deps", "--ignore-scripts"]  # fmt: skip
        done = subprocess.run(
            command, cwd=FOLDER, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"npm install failed: {done.stderr.strip()[-500:]}")
        stamp.write_bytes(wanted.read_bytes())
    return node


def serving(script: str) -> Serving:
    """Return a function that runs a script of this folder as a server."""

    @contextmanager
    def run(core: int | None) -> Iterator[ChildServer]:
        with ChildServer([str(FOLDER / script)], core=core, interpreter=installed()) as server:
            yield server

    return run
