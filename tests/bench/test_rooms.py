"""The fan-out bench, small: what it counts, and that it runs against both servers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bench.rooms import percentiles
from tests.server_process import ROOT


@given(st.lists(st.integers(0, 10**7), min_size=1))
def test_percentiles_are_values_that_were_measured(values: list[int]) -> None:
    found = percentiles(Counter(values))
    assert list(found) == ["p50", "p90", "p99", "p99.9", "max"]
    assert found["max"] == max(values) / 1000
    assert found["p50"] == sorted(values)[(len(values) - 1) // 2] / 1000
    assert sorted(found.values()) == list(found.values())


def test_a_small_run_delivers_everything_and_compares(tmp_path: Path) -> None:
    file = tmp_path / "rooms.json"
    done = subprocess.run(
        [
            sys.executable, "-m", "bench.rooms", "--rate", "500", "--members", "5", "--rooms", "2",
            "--seconds", "1", "--warmup", "0", "--json", str(file),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )  # fmt: skip
    rows = json.loads(file.read_text("utf-8"))["rows"]
    assert [row["server"] for row in rows] == ["greenroom", "trio-websocket broadcaster"]
    for row in rows:
        assert (row["lost"], row["errors"]) == (0, {})
        assert row["deliveries"] == 500
        assert 0 < row["latency_ms"]["p50"] <= row["latency_ms"]["max"]
    assert rows[0]["ack_ms"]["p50"] > 0
    assert "trio-websocket broadcaster takes" in done.stdout
