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
    """Members named in an answer. The answer always gives their total number as well."""
    presence_each: Annotated[int, Meta(ge=0)] = 100
    """In a room of up to so many users each join and leave is a push of its own. In a bigger one
    they are gathered, since each goes to everybody: ten thousand joins would be 50 million pushes.
    """
    presence_every_s: PositiveSeconds = 1.0
    """How long they are gathered, for one push."""
    presence_named: Annotated[int, Meta(ge=0)] = 1000
    """In a room of more users that push gives only their number. Nor does it name more than
    `members_listed` at once."""
    recent: Count = 128
    """Messages that a room keeps in memory. A resume gets all it missed if it missed no more."""
    joined_messages: Annotated[int, Meta(ge=0)] = 50
    """How many of these the answer to a join shows."""
    answer_bytes: Count = 131_072
    """Messages in one answer, in bytes of their bodies: an answer has fewer messages if they are
    long. JSON may write a byte as six, so the outbox should hold six times as much. Otherwise a
    client could be closed as too slow for its own resume."""
    history_limit: Count = 200
    """Messages that one request for older ones may ask for."""
    history_s: Seconds = 0.0
    """How long messages are kept; 0: for ever. The last message of a room is always kept."""
    history_messages: Annotated[int, Meta(ge=0)] = 0
    """How many of a room's newest messages are kept; 0: all. Those in memory are always shown."""
    keys: Count = 1024
    """How many keyed sends a room remembers, so that a retry acts once."""
    idle_after_s: PositiveSeconds = 300.0
    """How long an empty room stays in memory. The next join loads it again."""
    snapshot_interval_s: PositiveSeconds = 15.0
    """How often a room that changes is written to the snapshot store. A longer interval is as safe,
    because events after the snapshot are replayed, but makes a recovery longer."""
    mailbox: Count = 4096
    """Messages that wait for their room. Beyond it, requests are answered `busy`."""

    @property
    def forgets(self) -> bool:
        """Whether old messages are deleted."""
        return bool(self.history_s or self.history_messages)
