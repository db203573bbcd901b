"""The bench of durable schedules with few rows: all that were due have fired."""

from __future__ import annotations

import msgspec

from bench.waiting import Figure
from tests.bench.commands import bench


def test_every_figure_is_there_and_none_came_early() -> None:
    small = ("--waiting", "500", "--due", "20", "--overdue", "100", "--seconds", "0.3", "--json")
    done = bench("waiting", *small)
    assert done.returncode == 0, done.stderr
    found = {one.what: one.value for one in msgspec.json.decode(done.stdout, type=list[Figure])}
    assert found["rows that wait"] == 500
    assert found["late, least"] >= 0
    assert found["set"] > 0
    assert found["overdue at a start"] > 0
