"""How many files the process may have open, and how many of them clients may take.

Each connection is an open file. Once there are none left nothing can be opened at all: no client is
told that the server is full, no probe is answered, no connection to a store is made anew.
"""

from __future__ import annotations

import resource
from typing import Final

import msgspec
import structlog

from protocol.server.settings import WireSettings

log = structlog.get_logger("actors.node.files")

RESERVED: Final = 128
"""For all but clients: HTTP, stores, listeners, logs. A node at rest has about thirty. Where there
are fewer than twice as many files at all, half of them."""


def raise_limit() -> int:
    """Let the process open as many files as it may allow itself; returns how many that are.

    The soft limit is low (1,024, often) for programs that use select(); we do not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # a hard limit that the system itself does not give
        return soft
    return hard


def fitting(wire: WireSettings, files: int) -> WireSettings:
    """The settings with no more connections than `files` have room for beside the reserve.

    If it is fewer than were asked for, the log says so.
    """
    if files == resource.RLIM_INFINITY:
        return wire
    room = max(2, files - min(RESERVED, files // 2))
    most = min(wire.max_connections, room - min(wire.spare_handshakes, room // 8))
    if room >= wire.max_connections:
        most = wire.max_connections  # fewer handshakes to spare, then
    else:
        log.warning(
            "not as many connections as configured: open files",
            max_connections=wire.max_connections,
            possible=most,
            limit=files,
            needed=wire.max_connections + wire.spare_handshakes + RESERVED,
            hint="raise the hard limit (ulimit -Hn, LimitNOFILE=), or lower wire.max_connections",
        )
    spare = min(wire.spare_handshakes, room - most)
    return msgspec.structs.replace(wire, max_connections=most, spare_handshakes=spare)
