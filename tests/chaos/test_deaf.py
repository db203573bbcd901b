"""The server closes a client that stops reading, but not one that only waits for a slow join."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.chaos.deaf import stop_reading
from tests.chaos.faults import SLOW_CONSUMER
from tests.chaos.faulty import SOCKET_VARIABLE, Order, give
from tests.chaos.stage import ended
from tests.server_process import Server

JOIN_S = 4.0
"""Only what comes after the join is to count."""
FREE = ("sessions.messages_per_s=0", "sessions.bytes_per_s=0")
LOG = ("log.level=debug", "log.format=json")
"""Which says of each connection why it ended."""


STALLED_S = 6
"""Longer than a client on a quiet machine would wait."""


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.gettempdir()) / f"greenroom-deaf-{secrets.token_hex(8)}"
    yield path
    shutil.rmtree(path, ignore_errors=True)
    Path(f"{path}-orders").unlink(missing_ok=True)


async def test_what_became_of_a_client_that_stops_reading_is_what_the_server_says(
    folder: Path,
) -> None:
    orders = f"{folder}-orders"
    entry, variables = ("-m", "tests.chaos.faulty"), {SOCKET_VARIABLE: orders}
    settings = (f"wire.stalled_s={STALLED_S}", "wire.outbox_bytes=1000000000", *LOG)
    with Server(folder, *settings, entry=entry, variables=variables) as server:
        # Neither a join that takes long nor a server that gives up late proves anything.
        give(orders, Order("room.on_start", "hang", key="slow", hang_s=JOIN_S))
        deaf = await stop_reading(server.ws, "slow", partial(ended, server))
        assert deaf is not None
        assert deaf.close == SLOW_CONSUMER, deaf
        # Nor does a server that had little to say.
        give(orders, Order("room.history", times=10**9, key="broken"))
        deaf = await stop_reading(server.ws, "broken", partial(ended, server), within_s=1.0)
        assert deaf is not None
        assert not deaf.close
        assert not deaf.held, deaf
        server.stop()


async def test_a_server_that_holds_on_to_it_is_found_out(folder: Path) -> None:
    settings = ("wire.outbox_bytes=1000000000", "wire.stalled_s=600", *FREE, *LOG)
    with Server(folder, *settings) as server:
        deaf = await stop_reading(server.ws, "lobby", partial(ended, server), within_s=3.0)
        assert deaf is not None
        assert deaf.held, deaf
        server.stop()
