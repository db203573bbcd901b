"""Settings of the audit log. Times are in seconds."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from actors.quantities import Count, PositiveSeconds, Seconds


class AuditSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The audit log."""

    kept_s: Seconds = 34_560_000.0
    """How long entries are kept (400 days); 0: for ever. They go by whole months, so some stay up
    to a month longer."""
    list_limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    """How many entries one audit.list may ask for."""
    refusals_per_s: PositiveSeconds = 10.0
    """How many refusals a second one node writes down. Strangers can cause any number of them.

    What staff does is always written down.
    """
    refusals_burst: Count = 1000
    """How many refusals may come at once."""
