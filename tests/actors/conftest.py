"""The contract of topics: a module that uses `layout` is run with members on any node."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.actors.nodes import LAYOUT, Layout


@pytest.fixture(params=list(Layout), ids=lambda layout: layout.value)
def layout(request: pytest.FixtureRequest) -> Iterator[Layout]:
    """All on one node, as without a cluster; members on another node than owners; or on both."""
    yield from _laid_out(request.param)


@pytest.fixture(params=[Layout.ONE_NODE, Layout.ELSEWHERE], ids=lambda layout: layout.value)
def clients_together(request: pytest.FixtureRequest) -> Iterator[Layout]:
    """Layouts with all clients on one node, for tests of limits that each node has for itself."""
    yield from _laid_out(request.param)


@pytest.fixture
def two_nodes() -> Iterator[Layout]:
    """Clients on both nodes."""
    yield from _laid_out(Layout.MIXED)


def _laid_out(layout: Layout) -> Iterator[Layout]:
    token = LAYOUT.set(layout)
    yield layout
    LAYOUT.reset(token)
