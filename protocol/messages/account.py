"""Accounts: who players are, how they come in, and what they tell of themselves."""

from __future__ import annotations

from typing import Final

from protocol.messages import identities, profile, sign_ins, standing
from protocol.messages.op import Area

AREA: Final = Area(ops=(*identities.OPS, *profile.OPS, *standing.OPS, *sign_ins.OPS))
