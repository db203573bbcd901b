"""Plain Pykka refs where the facades want something to ask: no runtime, no event loop."""

from __future__ import annotations

from typing import Any

from pykka import ActorRef

from persistence.rows import EventRow


def ask(ref: ActorRef[Any], message: Any, timeout_s: float = 10.0) -> Any:
    """Ask and wait for the reply; raises what the actor raised."""
    return ref.ask(message, timeout=timeout_s)


def event(kind: str, key: str, seq: int, epoch: int = 1, payload: bytes = b"\x80") -> EventRow:
    return (kind, key, seq, epoch, "posted", payload, 1_700_000_000_000_000 + seq)
