"""Settings of webhooks. Times are in seconds."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from actors.quantities import Count, PositiveSeconds
from protocol.http.destinations import parsed_networks


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is sent to back ends, and how often it is tried."""

    networks: tuple[str, ...] = ()
    """Networks that are reached though they are not public, such as "127.0.0.0/8"; http, without
    TLS, is for these alone."""
    timeout_s: PositiveSeconds = 10.0
    """How long a receiver may take for one event."""
    first_retry_s: PositiveSeconds = 5.0
    """The pause after the first try that failed. Each further one is twice as long."""
    longest_retry_s: PositiveSeconds = 3_600.0
    """The longest pause."""
    dead_after_s: PositiveSeconds = 86_400.0
    """How long an event is tried. After that it is dead: it is listed, and sent only if asked."""
    dead_kept_s: PositiveSeconds = 604_800.0
    """How long dead events are kept."""
    most: Count = 32
    """How many webhooks there may be."""
    waiting: Count = 100_000
    """How many events may wait for one webhook. Beyond that new events are left out, until half of
    them have gone."""
    at_once: Annotated[int, Meta(ge=1, le=256)] = 16
    """How many events one node sends at the same time."""
    look_every_s: PositiveSeconds = 1.0
    """How often a node looks for events that are due."""

    def __post_init__(self) -> None:
        """Raise ValueError for a text that is no network."""
        parsed_networks(self.networks)
