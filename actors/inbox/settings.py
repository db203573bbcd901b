"""Settings of users' inboxes.

Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from actors.quantities import Count, PositiveSeconds, Seconds


class InboxSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user's inbox."""

    payload_bytes: Annotated[int, Meta(ge=1, le=65_536)] = 4096
    """The longest payload of an entry, in msgpack. Whoever puts a longer one is told at once."""
    recent: Count = 64
    """Entries kept in memory while the user is there: what a resume bridges without a gap."""
    joined_entries: Annotated[int, Meta(ge=0)] = 50
    """Of these, how many a join shows at most."""
    answer_bytes: Count = 131_072
    """Entries in one answer, and of one user in memory, in bytes of their payloads."""
    history_limit: Count = 200
    """Entries one inbox.history may ask for."""
    kept: Annotated[int, Meta(ge=0)] = 1000
    """The last so many entries of a user are kept; 0: all."""
    kept_s: Seconds = 7_776_000.0
    """Entries are kept for so long, 90 days; 0: for ever."""
    look_every_s: PositiveSeconds = 10.0
    """Those who are there are told at once of what is new. What got lost on the way is looked up
    this often, for all of them together."""
    mailbox: Count = 256
    """Messages that wait for a user's inbox; beyond it requests are answered `busy`."""

    @property
    def forgets(self) -> bool:
        """Whether there are entries that are not kept for ever."""
        return bool(self.kept or self.kept_s)
