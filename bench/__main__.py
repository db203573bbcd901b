"""`python -m bench` lists the scenarios."""

from __future__ import annotations

import importlib
import sys

SCENARIOS = (
    "connect", "idle", "echo", "rooms", "chat", "matches", "mixed", "soak", "hundred_thousand",
    "http", "sign_in", "actors", "stores", "graph", "waiting", "cluster", "thousand_nodes",
    "rolling", "compare", "nodes",
)  # fmt: skip


def main() -> None:
    """Print each scenario's first line."""
    lines = ["Measurements of Greenroom; each has --help.", ""]
    for name in SCENARIOS:
        text = (importlib.import_module(f"bench.{name}").__doc__ or "").partition("\n")[0]
        lines.append(f"  python -m bench.{name:<18}{text}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
