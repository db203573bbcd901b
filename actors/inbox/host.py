"""`InboxHost`: what the inboxes of a node share."""

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
    """Entries that were pushed to users online."""
    late: int = 0
    """How often the lookout found an inbox with entries that were not pushed."""
    marked: int = 0
    """How often a mark of what is read was moved."""


@dataclass(frozen=True, kw_only=True)
class InboxHost:
    """What every inbox of a node is given."""

    topics: Topics
    facts: Facts
    settings: InboxSettings
    online: OnlineUsers
    counters: InboxCounters
