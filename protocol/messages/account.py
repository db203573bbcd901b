"""Accounts: who players are, and how they come in."""

from __future__ import annotations

from typing import Final

from protocol.messages import identities
from protocol.messages.op import Area

AREA: Final = Area(ops=identities.OPS)
