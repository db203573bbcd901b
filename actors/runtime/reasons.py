"""The names of the ways an actor can end."""

from __future__ import annotations

from typing import Literal

Reason = Literal[
    "stopped",
    "failed",
    "escalated",
    "passivated",
    "killed",
    "fenced",
    "absent",
    "moved",
    "node_down",
]
"""How an actor ended.

- `stopped`: it was asked to stop.
- `failed`: it failed more often than its policy allows.
- `escalated`: its supervisor gave up.
- `passivated`: it was idle; the next message starts it again.
- `killed`: it did not stop by its deadline.
- `fenced`: another incarnation owns its log.
- `absent`: there was no such actor.
- `moved`: it was handed over to another node; the next message starts it there.
- `node_down`: its node is gone.
"""
