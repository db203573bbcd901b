"""Settings of friends."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from actors.quantities import Count


class FriendSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Friends, requests and blocks."""

    friends: Count = 1000
    """How many friends one user may have."""
    requested: Count = 100
    """How many requests of one user may wait for their answers."""
    asked: Count = 500
    """How many requests may wait for one user's answers. Others cannot ask beyond that."""
    blocks: Count = 1000
    """How many users one user may block."""
    look_every_s: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """How often a node of a cluster looks for users who have blocked others on other nodes."""
    list_limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    """How many friends or blocked users one request may ask for."""
