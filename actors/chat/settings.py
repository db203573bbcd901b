"""Settings of chat.

Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from actors.quantities import Count, PositiveSeconds, Seconds


class RoomSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A chat room."""

    body_bytes: Annotated[int, Meta(ge=1, le=262_144)] = 4096
    """The longest message, in bytes of UTF-8."""
    members: Count = 10_000
    """Sessions in one room."""
    members_listed: Count = 100
    """Members named in an answer; the total is always given."""
    recent: Count = 128
    """Messages a room keeps in memory: what a resume can bridge without a gap."""
    joined_messages: Annotated[int, Meta(ge=0)] = 50
    """Of these, how many a join shows at most."""
    answer_bytes: Count = 131_072
    """Messages in one answer, in bytes of their bodies: fewer messages than were asked for when
    they are long. JSON may write a byte as six, so that the outbox should hold six times as much:
    a client must not be too slow for its own resume."""
    history_limit: Count = 200
    """Messages one room.history may ask for."""
    history_s: Seconds = 0.0
    """Messages are kept for so long; 0: for ever. The last of a room stays in any case."""
    history_messages: Annotated[int, Meta(ge=0)] = 0
    """The last so many of a room are kept; 0: all. What memory holds is shown all the same."""
    keys: Count = 1024
    """The last so many keyed sends of a room are remembered, so that a retry acts once."""
    idle_after_s: PositiveSeconds = 300.0
    """An empty room leaves memory after this; the next join brings it back."""
    snapshot_interval_s: PositiveSeconds = 15.0
    """A room that changes is written to the snapshot store this often. Costs nothing in safety:
    events after the snapshot are replayed."""
    mailbox: Count = 4096
    """Messages that wait for their room; beyond it requests are answered `busy`."""

    @property
    def forgets(self) -> bool:
        """Whether there is history that is not kept for ever."""
        return bool(self.history_s or self.history_messages)
