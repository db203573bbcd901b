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
    """The greatest size of an entry's payload, in msgpack.

    A service that puts a larger one gets an error.
    """
    recent: Count = 64
    """How many entries are kept in memory while the user is online. A resume can repeat so many."""
    joined_entries: Annotated[int, Meta(ge=0)] = 50
    """How many of these a join shows at most."""
    answer_bytes: Count = 131_072
    """The greatest size of the entries in one answer, and of one user's in memory, as payloads."""
    history_limit: Count = 200
    """How many entries one inbox.history may ask for."""
    kept: Annotated[int, Meta(ge=0)] = 1000
    """How many of a user's newest entries are kept; 0: all."""
    kept_s: Seconds = 7_776_000.0
    """How long entries are kept (90 days); 0: for ever."""
    look_every_s: PositiveSeconds = 10.0
    """How often the server looks for entries whose push got lost, for all users online together.

    Other entries are pushed at once.
    """
    mailbox: Count = 256
    """How many messages may wait for a user's inbox. Requests beyond that are answered `busy`."""

    @property
    def forgets(self) -> bool:
        """Whether there are entries that are not kept for ever."""
        return bool(self.kept or self.kept_s)
