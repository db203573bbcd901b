"""Settings of second factors. Times are in seconds."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from actors.quantities import Count


class SecondFactorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a sign-in waits for the second factor."""

    ticket_valid_s: Annotated[float, Meta(gt=0, le=86_400)] = 300.0
    """How long a sign-in waits for the second factor."""
    ticket_tries: Count = 5
    """How often a second factor may be shown for one sign-in."""
