"""What all inboxes of a node share."""

from __future__ import annotations

from dataclasses import dataclass

from actors.edge.topics import Topics
from actors.facts import Facts
from actors.inbox.desk import Desk
from actors.inbox.settings import InboxSettings


@dataclass(slots=True)
class InboxCounters:
    """What they count."""

    pushed: int = 0
    """Entries that were pushed to those who are here."""
    late: int = 0
    """Inboxes with something new of which no hint had come."""
    marked: int = 0
    """Inboxes that were marked as read."""


@dataclass(frozen=True, kw_only=True)
class InboxHost:
    """What each of them is given."""

    topics: Topics
    facts: Facts
    settings: InboxSettings
    desk: Desk
    counters: InboxCounters
