"""`server.nodes = "auto"` is for the cores that there are."""

from __future__ import annotations

import os

import pytest

from actors.node.config import MOST_NODES, ServerSettings
from actors.node.cores import limited, usable_cores


@pytest.mark.parametrize(
    ("cpu_max", "cores"),
    [
        ("max 100000\n", 8),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("50000 100000\n", 1),
        ("6400000 100000\n", 8),
        ("", 8),
        ("0 0", 8),
    ],
)
def test_the_limit_of_a_container_counts(cpu_max: str, cores: int) -> None:
    assert limited(8, cpu_max) == cores


def test_there_are_no_more_nodes_than_cores() -> None:
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))
    assert ServerSettings(nodes="auto").node_count == min(usable_cores(), MOST_NODES)
    assert ServerSettings(nodes=3).node_count == 3
