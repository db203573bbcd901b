"""The server closes a client that stops reading, but not one that only waits for a slow join."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.deaf import stop_reading
from tests.chaos.faults import SLOW_CONSUMER
from tests.chaos.faulty import SOCKET_VARIABLE, Order, give
from tests.server_process import Server

JOIN_S = 4.0
"""How long the join takes: longer than the client then does not read. Only the latter must
count."""


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.gettempdir()) / f"greenroom-deaf-{secrets.token_hex(8)}"
    yield path
    shutil.rmtree(path, ignore_errors=True)
    Path(f"{path}-orders").unlink(missing_ok=True)


async def test_a_client_whose_join_took_long_is_closed_once_it_stops_reading(folder: Path) -> None:
    orders = f"{folder}-orders"
    entry, variables = ("-m", "tests.chaos.faulty"), {SOCKET_VARIABLE: orders}
    # The time-out is longer than the client does not read, so that it still finds the close frame.
    settings = ("wire.stalled_s=1", "wire.close_timeout_s=60")
    with Server(folder, *settings, entry=entry, variables=variables) as server:
        give(orders, Order("room.on_start", "hang", key="slow", hang_s=JOIN_S))
        deaf = await stop_reading(server.ws, "slow", for_s=JOIN_S * 0.9)
        assert deaf is not None
        assert deaf.code == SLOW_CONSUMER, deaf
        server.stop()


async def test_a_server_that_holds_on_to_it_is_found_out(folder: Path) -> None:
    with Server(folder, "wire.outbox_bytes=1000000000", "wire.stalled_s=600") as server:
        deaf = await stop_reading(server.ws, "lobby", for_s=1.0)
        assert deaf is not None
        assert deaf.code == 0, deaf
        assert deaf.read_bytes > 1_000_000
        server.stop()
