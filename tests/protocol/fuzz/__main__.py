"""`python -m tests.protocol.fuzz`: the long form. Exits with 1 if anything is to be mended."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

import msgspec

from tests.protocol.fuzz.run import Plan, perform, progress

LIMITED_PART = 0.1
"""The share of frames that go to a server with the default rate limits, which refuses most of them
before it reads them."""


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.protocol.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, help="default: a new one, printed")
    parser.add_argument("--frames", type=int, default=1_000_000, help="mutated ones, at least")
    parser.add_argument("--handshakes", type=int, default=10_000, help="mutated ones, at least")
    parser.add_argument("--attackers", type=int, default=12, help="connections at once")
    parser.add_argument("--json", type=Path, help="write the report there, too")
    chosen = parser.parse_args()
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(10**6)
    limited = int(chosen.frames * LIMITED_PART)
    plans = [
        Plan(
            seed=seed,
            frames=chosen.frames,
            handshakes=chosen.handshakes,
            attackers=chosen.attackers,
            rounds=5,
        ),
        Plan(seed=seed + 1, frames=limited, handshakes=0, attackers=chosen.attackers, limited=True),
    ]
    reports = []
    for plan in plans:
        report = perform(plan, progress)
        reports.append(report)
        print(report.text(), flush=True)
    if chosen.json:
        chosen.json.write_bytes(msgspec.json.format(msgspec.json.encode(reports)))
    return 1 if any(report.violations for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
