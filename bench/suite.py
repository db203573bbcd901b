"""A short look at everything: each scenario for a few seconds, some with a peer to compare.

python -m bench.suite                about two minutes
python -m bench.suite --seconds 20   longer, for figures that hold
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from bench.child import ROOT

RUNS = (
    ("echo", "--against", "trio-websocket"),
    ("connect", "--against", "trio-websocket"),
    ("idle", "--players", "2000"),
    ("rooms", "--against", "trio-websocket"),
    ("chat",),
    ("matches", "--matches", "50"),
    ("mixed",),
)
SELF_ENDING = {"connect"}
"""Scenarios that end when they are done, without --seconds."""


def main() -> None:
    """Run the scenarios one after the other, until one fails."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.suite",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds of each run (5)")
    seconds = str(parser.parse_args().seconds)
    for name, *arguments in RUNS:
        timing = [] if name in SELF_ENDING else ["--seconds", seconds]
        sys.stdout.write(f"\n=== {name}\n")
        sys.stdout.flush()
        command = [sys.executable, "-m", f"bench.{name}", *timing, *arguments]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        if code:
            sys.exit(code)


if __name__ == "__main__":
    main()
