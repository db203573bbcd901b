"""The simulation of many nodes, run with few, reports every figure."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench.thousand_nodes import NodesRow
from tests.bench.commands import bench


def test_every_figure_is_there(tmp_path: Path) -> None:
    figures = tmp_path / "nodes.json"
    done = bench("thousand_nodes", "--nodes", "8", "--json", str(figures))
    assert done.returncode == 0, done.stderr
    rows = msgspec.json.decode(figures.read_bytes(), type=list[NodesRow])
    assert all(row.what in done.stdout for row in rows)
    found = {row.what: row.value for row in rows}
    assert found["of these, between other nodes"] == 0
    assert found["slots that are elsewhere than before it came"] == 0
    assert found["the least, of what its weight gives it"] > 80
    assert found["CPU of Valkey for one"] > 0
    assert found["CPU of PostgreSQL for one"] > 0
    assert found["heartbeats of all nodes"] == 20


@pytest.mark.parametrize(
    ("arguments", "why"),
    [(("--nodes", "1"), "--nodes is at least 2"), (("--lease", "1"), "--lease is at least 1.5")],
)
def test_a_number_that_makes_no_sense_is_refused_in_one_line(
    arguments: tuple[str, str], why: str
) -> None:
    done = bench("thousand_nodes", *arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(why)
