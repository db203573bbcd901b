"""The bench of the HTTP API, run small, reports every figure, and no call fails."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench.http import BODIES, HttpReport
from tests.bench.commands import bench


def test_every_op_is_called_and_every_call_is_answered(tmp_path: Path) -> None:
    figures = tmp_path / "http.json"
    small = ("--seconds", "0.3", "--warmup", "0.1", "--connections", "2", "--json", str(figures))
    done = bench("http", *small, timeout_s=200)
    assert done.returncode == 0, done.stderr
    found = msgspec.json.decode(figures.read_bytes(), type=HttpReport)
    assert [row.op for row in found.rows] == list(BODIES)
    assert all(row.per_s > 0 and row.cpu_us > 0 and row.failed == 0 for row in found.rows)
    assert all(0 < row.p50_ms <= row.p99_ms for row in found.rows)


def test_a_time_that_is_none_is_refused_in_one_line() -> None:
    done = bench("http", "--seconds", "0")
    assert done.returncode == 2
    assert "above 0" in done.stderr
