"""What Greenroom is measured beside: one file each, with how it is started and how it is spoken to.

A peer's module has `Driver`, the client that the generators use, and either `COMMAND` (arguments
of a server that prints its ws:// address) or a `serving` of its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager

from bench.child import ChildServer

PEERS = {
    "trio-websocket": "bench.peers.trio_websocket",
}
"""Name on the command line -> module."""


def driver(peer: str) -> str:
    """The module of a peer's driver."""
    return PEERS[peer]


@contextmanager
def serving(peer: str, core: int | None) -> Iterator[tuple[list[str], list[ChildServer]]]:
    """Run a peer's server, pinned like ours; its URLs and its processes."""
    module = importlib.import_module(PEERS[peer])
    with ChildServer(module.COMMAND, core=core) as server:
        yield [server.url], [server]
