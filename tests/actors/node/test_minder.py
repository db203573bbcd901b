"""The minder of a node without a parent, and a node that is caught in C code."""

from __future__ import annotations

import signal
import subprocess
import sys

import msgspec
import psycopg
import pytest

from actors.node.logs import LogSettings
from actors.node.minder import Charge
from persistence import PostgresSettings
from persistence.postgres import migrate
from tests.server_process import ROOT, environment, wait_until_gone

LIMIT_S = 60.0

NODE = """
import os, sys, time
import msgspec
from actors.node.minder import Charge, minded
from actors.runtime.watchdog import interruptible
charge = msgspec.json.decode(sys.stdin.buffer.readline(), type=Charge)
with minded(msgspec.structs.replace(charge, pid=os.getpid())):
    with interruptible(60.0, {"kind": "match", "key": "sound"}):
        pass
    with interruptible(60.0, {"kind": "match", "key": "hanging"}):
        WORK
print("over", flush=True)
"""


@pytest.fixture
def settings(postgres_url: str, unique: str) -> PostgresSettings:
    """A schema of the test's own."""
    found = PostgresSettings(url=postgres_url, schema=unique)
    migrate(found)
    return found


def run(postgres: PostgresSettings, work: str, **limits: float) -> subprocess.CompletedProcess[str]:
    """A process that has its minder, and does this work in a block."""
    times = {"caught_after_s": 0.5, "hold_s": 60.0, "hung_after_s": 2.0} | limits
    charge = Charge(pid=0, node="web", page=-1, postgres=postgres, log=LogSettings(), **times)
    return subprocess.run(
        [sys.executable, "-c", NODE.replace("WORK", work)],
        input=f"{msgspec.json.encode(charge).decode()}\n",
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def held(postgres: PostgresSettings) -> list[tuple[str, str, int, str]]:
    with psycopg.connect(postgres.url) as connection:
        text = f"SELECT kind, key, hangs, node FROM {postgres.schema}.held_actors"
        return connection.execute(text).fetchall()


def test_a_node_that_hangs_is_killed_and_its_actor_is_held(settings: PostgresSettings) -> None:
    done = run(settings, "sum(range(10**13))")
    assert done.returncode == -signal.SIGKILL
    assert held(settings) == [("match", "hanging", 1, "web")]
    assert "a node is caught in an actor" in done.stderr
    assert "node is killed" in done.stderr


def test_a_block_that_ends_in_time_is_nobodys_business(settings: PostgresSettings) -> None:
    done = run(settings, "pass")
    assert (done.returncode, done.stdout) == (0, "over\n"), done.stderr
    assert held(settings) == []


def test_its_minder_ends_with_it(settings: PostgresSettings) -> None:
    children = "open(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read().split()"
    done = run(settings, f"print(*{children}, flush=True); os.kill(os.getpid(), 9)")
    assert done.returncode == -signal.SIGKILL
    (minder,) = map(int, done.stdout.split())
    assert wait_until_gone({minder}) == set()
