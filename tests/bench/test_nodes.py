"""What several nodes cost beside one: all processes of a server are seen, each for itself."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench.nodes import NodeCosts, medians, table
from tests.bench.commands import bench

SMALL = ("--rooms", "2", "--members", "4", "--rate", "800", "--echo-rate", "200", "--seconds", "1")


def test_the_cpu_of_all_nodes_counts_and_each_part_is_told(tmp_path: Path) -> None:
    figures = tmp_path / "nodes.json"
    done = bench("nodes", "--nodes", "2", *SMALL, "--json", str(figures), timeout_s=200)
    assert done.returncode == 0, done.stderr
    (row,) = msgspec.json.decode(figures.read_bytes(), type=list[NodeCosts])
    parts = row.parts_percent
    assert set(parts) == {"parent", "node 1", "node 2", "Valkey", "PostgreSQL"}
    used = parts["parent"] + parts["node 1"] + parts["node 2"]
    assert parts["node 1"] > parts["parent"]
    # 800 deliveries a second of so many microseconds, in per cent of a core
    assert abs(row.delivery_us * 800 / 1e4 - used) < 0.1 * used
    assert done.stdout.splitlines()[1].split()[0] == "2"


def test_ratios_are_those_to_the_first_number_of_nodes() -> None:
    one = NodeCosts(1, 10.0, 20.0, 1.0, {"server": 50.0, "Valkey": 1.0}, [])
    two = NodeCosts(
        2, 12.0, 20.0, 2.0, {"parent": 0.2, "node 1": 29.0, "node 2": 31.0}, ["replies"]
    )
    lines = table([one, medians([two, two, NodeCosts(2, 90.0, 20.0, 2.0, {}, [])])]).splitlines()
    assert lines[1].split()[:5] == ["1", "10.00", "1.00", "20.00", "1.00"]
    assert lines[2].split()[:8] == ["2", "12.00", "1.20", "20.00", "1.00", "2.00", "0.20", "30.0"]
    assert lines[3] == "2 nodes did not keep up: replies"
