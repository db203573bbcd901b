from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bench.actors import ActorsReport
from tests.bench.commands import bench

ROOT = Path(__file__).parent.parent.parent


def test_the_bench_writes_a_table_and_json(tmp_path: Path) -> None:
    figures = tmp_path / "actors.json"
    small = ("--repeat", "1", "--scale", "0.02")
    # Status 1 says that a bar was missed: on a machine busy with other tests, that is no news.
    done = bench("actors", *small, "--json", str(figures), timeout_s=120)
    assert done.returncode in {0, 1}, done.stderr
    assert figures.exists(), done.stderr
    report = msgspec.json.decode(figures.read_bytes(), type=ActorsReport)
    names = [row.what for row in report.rows]
    assert names == [
        "tell",
        "ask",
        "ask, queued",
        "ask, async handler",
        "hop",
        "spawn",
        "memory an idle actor",
    ]
    assert all(name in done.stdout for name in names)
    memory = report.rows[-1]
    assert 0 < memory.ours <= 6.0


@pytest.mark.parametrize("how", [["-m", "bench.actors"], ["bench/actors.py"]])
def test_the_bench_explains_itself(how: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *how, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "ThreadingActor" in done.stdout
