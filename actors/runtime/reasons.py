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
"""How an actor ended. `stopped`: asked to. `failed`: more often than allowed. `escalated`: its
supervisor gave up. `passivated`: idle; the next message brings it back. `killed`: it did not stop
by its deadline. `fenced`: another incarnation owns its log. `absent`: there was none. `moved`:
handed over to another node; the next message starts it there. `node_down`: its node is gone."""
