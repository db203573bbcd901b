"""The bench of two nodes, run small, reports every figure."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench.cluster import ClusterRow
from tests.bench.commands import bench


def test_every_figure_is_there(tmp_path: Path) -> None:
    figures = tmp_path / "cluster.json"
    done = bench("cluster", "--seconds", "0.2", "--json", str(figures))
    assert done.returncode == 0, done.stderr
    rows = msgspec.json.decode(figures.read_bytes(), type=list[ClusterRow])
    assert all(row.per_s > 0 and row.p99_ms >= row.p50_ms > 0 for row in rows)
    assert all(row.sender_us > 0 and row.receiver_us >= 0 and row.valkey_us > 0 for row in rows)
    assert {"10,000/s", "bunches of 1000", "ask, 100"} <= {row.what for row in rows}
    assert all(row.what in done.stdout for row in rows)


def test_a_time_that_is_none_is_refused_in_one_line() -> None:
    done = bench("cluster", "--seconds", "0", timeout_s=60)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("--seconds is above 0")
