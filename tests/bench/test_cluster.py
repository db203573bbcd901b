"""The measure of two nodes, small: every figure is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from bench.cluster import ClusterRow
from tests.server_process import ROOT


def test_every_figure_is_there(tmp_path: Path) -> None:
    figures = tmp_path / "cluster.json"
    done = subprocess.run(
        [sys.executable, "-m", "bench.cluster", "--seconds", "0.2", "--json", str(figures)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = msgspec.json.decode(figures.read_bytes(), type=list[ClusterRow])
    assert all(row.per_s > 0 and row.p99_ms >= row.p50_ms > 0 for row in rows)
    assert all(row.sender_us > 0 and row.receiver_us >= 0 and row.valkey_us > 0 for row in rows)
    assert {"10,000/s", "bunches of 1000", "ask, 100"} <= {row.what for row in rows}
    assert all(row.what in done.stdout for row in rows)


def test_a_time_that_is_none_is_refused_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.cluster", "--seconds", "0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("--seconds is above 0")
