"""Which actors belong on this node."""

from __future__ import annotations


def is_mine(kind: str, key: str) -> bool:  # noqa: ARG001 - one node has all
    """Return whether the actor (kind, key) belongs on this node. With one node all of them do."""
    return True
