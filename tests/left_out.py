"""Any test without one of the services, and the tests of all services without each of the others.

    WITHOUT_SERVICE=chat pytest tests/actors/inbox    with one left out
    python -m tests.left_out                          what `make test-services` runs
    python -m tests.left_out chat                     the same with chat left out alone

A service that is left out cannot be imported in the process of the tests, has no part in their
houses and tables, and is not in the list of the servers that they start.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

import server

ROOT: Final = Path(__file__).parent.parent
VARIABLE: Final = "WITHOUT_SERVICE"
LEFT_OUT: Final = os.environ.get(VARIABLE, "")
"""The service that is left out; empty: none."""

BESIDE: Final = {
    "accounts": ("tests/protocol/test_client_accounts.py",),
    "audit": (),
    "chat": ("tests/protocol/test_client_membership.py",),
    "friends": (),
    "inbox": ("tests/test_inbox.py",),
    "keys": ("tests/actors/edge/api/test_walk.py",),
    "matches": ("tests/protocol/test_client_match.py",),
    "storage": ("tests/protocol/test_client_storage.py",),
    "webhooks": ("tests/protocol/http/test_destinations.py",),
}
"""The tests of each service beside its folder in tests/actors."""


def has(service: str) -> bool:
    """Whether a service takes part in this run."""
    return service != LEFT_OUT


def together_with(*services: str) -> pytest.MarkDecorator:
    """Mark a test of several services together. It is skipped where one of them is left out."""
    return pytest.mark.skipif(LEFT_OUT in services, reason=f"without {LEFT_OUT}")


def keep_out() -> None:
    """Take the service that is left out from the list of services, and have its imports fail.

    It is called before any module with tests is imported.
    """
    if not LEFT_OUT:
        return
    if LEFT_OUT not in BESIDE:
        raise SystemExit(f"{VARIABLE}={LEFT_OUT}: there is {', '.join(BESIDE)}")
    leave_out(LEFT_OUT)
    sys.modules[f"actors.{LEFT_OUT}"] = None  # type: ignore[assignment] # as Python documents it


def leave_out(service: str) -> None:
    """Take a service out of this process's list of services."""
    kept = tuple(path for path in server.SERVICES if not path.startswith(f"actors.{service}."))
    assert len(kept) < len(server.SERVICES), service
    server.SERVICES = kept


def paths_of(service: str) -> Sequence[str]:
    """The files and folders of a service's tests."""
    return (f"tests/actors/{service}", *BESIDE[service])


def main(arguments: Sequence[str]) -> int:
    """Run the others' tests without each service, or without those that are named."""
    failed = []
    for left_out in arguments or BESIDE:
        paths = [path for one in BESIDE if one != left_out for path in paths_of(one)]
        print(f"--- without {left_out}: {' '.join(paths)}", flush=True)
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *_side_by_side(), *paths],
            cwd=ROOT,
            env=os.environ | {VARIABLE: left_out},
            check=False,
        )
        print(f"--- without {left_out}: {time.monotonic() - began:.0f} s", flush=True)
        if done.returncode:
            failed.append(left_out)
    if failed:
        print(f"the other services' tests fail without {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _side_by_side() -> Sequence[str]:
    workers = os.environ.get("WORKERS", "2")
    return () if workers == "0" else ("--numprocesses", workers, "--dist", "loadfile")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
