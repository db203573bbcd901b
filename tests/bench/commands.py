"""Runs the benches as their users do."""

from __future__ import annotations

import subprocess
import sys

from tests.server_process import ROOT


def bench(name: str, *arguments: str, timeout_s: float = 90) -> subprocess.CompletedProcess[str]:
    """Run `python -m bench.<name>` until it ends."""
    return subprocess.run(
        [sys.executable, "-m", f"bench.{name}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
