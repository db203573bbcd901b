"""The names of the nodes of one server."""

from __future__ import annotations

import re
import socket
from typing import Final

LONGEST: Final = 40


def node_names(name: str, count: int) -> list[str]:
    """Return `name`-1, `name`-2 and so on.

    Arguments:
        name: letters, digits, hyphens and underscores; empty: the name of the machine, up to its
            first dot, since a dot separates a node's name from its incarnation.
        count: how many.
    """
    return [f"{name or _machine(socket.gethostname())}-{number}" for number in range(1, count + 1)]


def _machine(host: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", host.partition(".")[0])[:LONGEST] or "node"
