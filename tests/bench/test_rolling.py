"""The bench of a restart, run small, reports every figure, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench.rolling import RollingReport
from tests.bench.commands import bench

pytestmark = pytest.mark.failover

SMALL = ("--nodes", "2", "--rooms", "2", "--members", "4", "--matches", "1", "--rate", "5")


def test_a_restart_is_reported(tmp_path: Path) -> None:
    figures = tmp_path / "rolling.json"
    done = bench("rolling", *SMALL, "--json", str(figures), timeout_s=200)
    assert done.returncode == 0, done.stderr
    report = msgspec.json.decode(figures.read_bytes(), type=RollingReport)
    assert done.stdout.splitlines() == report.lines()
    assert (report.failed, report.lost, report.gaps, report.doubled) == ({}, 0, 0, 0)
    assert report.sends > 0
    assert report.inputs > 0
    assert report.reconnects > 0
    for found in (report.clients, report.rooms, report.matches):
        assert 0 < found.p50 <= found.p99 <= found.max


def test_a_number_that_makes_no_sense_is_refused_in_one_line() -> None:
    done = bench("rolling", "--nodes", "1")
    assert done.returncode == 2
    assert "at least 2" in done.stderr.splitlines()[-1]
