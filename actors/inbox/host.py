"""What the inboxes of a node share."""

from __future__ import annotations

from dataclasses import dataclass

from actors.edge.topics import Topics
from actors.facts import Facts
from actors.inbox.online_users import OnlineUsers
from actors.inbox.settings import InboxSettings


@dataclass(slots=True)
class InboxCounters:
    """Counters for the metrics."""

    pushed: int = 0
    """Entries pushed to users online."""
    late: int = 0
    """Inboxes in which the lookout found entries that were not pushed."""
    marked: int = 0
    """Marks that were moved."""


@dataclass(frozen=True, kw_only=True)
class InboxHost:
    """Dependencies of an inbox."""

    topics: Topics
    facts: Facts
    settings: InboxSettings
    online: OnlineUsers
    counters: InboxCounters
