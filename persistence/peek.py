"""A look at what comes next in the inbox of an actor that works on without end."""

from __future__ import annotations

import queue
from typing import Any

from pykka.messages import _ActorStop


def is_to_stop(inbox: Any) -> bool:
    """Whether a stop comes next. If something else does, it goes to the end."""
    try:
        envelope = inbox.get_nowait()
    except queue.Empty:
        return False
    inbox.put(envelope)
    return isinstance(envelope.message, _ActorStop)
