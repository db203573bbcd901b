"""How many files the process may have open, and how many of them clients may take.

Each connection is an open file. When the process has no more files, it cannot open anything: it
cannot tell a client that the server is full, answer a probe, or reconnect to a store.
"""

from __future__ import annotations

import resource
from typing import Final

import msgspec
import structlog

from protocol.server.settings import WireSettings

log = structlog.get_logger("actors.node.files")

RESERVED: Final = 128
"""Files for everything but clients: HTTP, stores, listeners, logs. An idle node has about thirty.
If the limit is less than twice this number, half of the limit is reserved."""


def raise_limit() -> int:
    """Raise the soft limit on open files to the hard one; returns the limit.

    The soft limit is often 1,024, for programs that use select(). This program does not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # the hard limit is more than the system allows
        return soft
    return hard


def fitting(wire: WireSettings, files: int) -> WireSettings:
    """Return the settings with no more connections than fit into `files` beside `RESERVED`.

    If they are fewer than the settings asked for, the log says so.
    """
    if files == resource.RLIM_INFINITY:
        return wire
    room = max(2, files - min(RESERVED, files // 2))
    most = min(wire.max_connections, room - min(wire.spare_handshakes, room // 8))
    if room >= wire.max_connections:
        most = wire.max_connections  # the spare handshakes become fewer
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
