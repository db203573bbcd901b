"""The servers that Greenroom is compared with. Each module starts one and speaks its protocol.

A peer's module has `Driver`, the client class that the generators use, and either `COMMAND`
(arguments for Python, to start a server that prints its ws:// address) or `serving(core)`, which
runs the server.
"""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager

from bench.child import ChildServer

PEERS = {
    "trio-websocket": "bench.peers.trio_websocket",
    "picows": "bench.peers.picows",
    "socketio": "bench.peers.socketio",
    "colyseus": "bench.peers.colyseus",
    "nakama": "bench.peers.nakama",
}
"""Name on the command line -> module."""


def serving(peer: str, core: int | None) -> AbstractContextManager[ChildServer]:
    """Run a peer's server, pinned to `core` as ours is.

    Raises:
        RuntimeError: it cannot run here; the text says what it needs.
    """
    module = importlib.import_module(PEERS[peer])
    if hasattr(module, "serving"):
        running: AbstractContextManager[ChildServer] = module.serving(core)
        return running
    return ChildServer(module.COMMAND, core=core)
