"""Settings of matches, and of the directory that lists them.

Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from actors.quantities import Count, PositiveSeconds, Seconds

GamePath = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*\Z",
        description='text of the form "package.module:Class"',
    ),
]


class MatchSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Matches, and the directory that lists them."""

    max_matches: Count = 1_000
    """How many matches may run at once."""
    max_matches_of_user: Count = 20
    """How many of the running matches one user may have created."""
    max_matches_of_address: Annotated[int, Meta(ge=0)] = 200
    """How many of the running matches all clients of one address may have created; 0: no limit."""
    params_bytes: Count = 8_192
    """The greatest size of a match's `params`, as msgpack.

    They are part of its log and snapshots.
    """
    list_limit: Count = 100
    """How many matches one match.list may ask for."""
    list_refresh_s: PositiveSeconds = 1.0
    """How often a node writes down how many players its matches have, for lists on other nodes."""
    rejoin_within_s: Seconds = 60.0
    """How long a player without a session keeps the place; 0: the player leaves at once."""
    abandon_after_s: PositiveSeconds = 120.0
    """A match ends when no player has been connected for this time."""
    unjoined_after_s: PositiveSeconds = 15.0
    """A match that nobody has joined ends this long after its creation, if that is sooner.

    It takes one of `max_matches` without being of use to anybody.
    """
    remember_ended_s: PositiveSeconds = 3_600.0
    """How long the idempotency key of an ended match is known."""
    played_s: PositiveSeconds = 2_592_000.0
    """How long it is known who has joined a match, for those who ask with whom they have played."""
    log_s: Seconds = 0.0
    """How long the log of an ended match is kept.

    Then nothing is left of the match. 0: for ever.
    """
    ended_keys: Count = 10_000
    """How many idempotency keys of ended matches are known at most, about 500 bytes each.

    The oldest are forgotten first.
    """
    snapshot_interval_s: PositiveSeconds = 1.0
    """The time between snapshots. A crash sets a match with ticks back by one or two of these."""
    catch_up_ticks: Count = 5
    """How many ticks are run at once after a stall. The others are skipped."""
    call_limit_s: PositiveSeconds = 0.5
    """How long one call of a game may take.

    A longer one is interrupted (in C code, when it returns), and counts as a crash of its match.
    Nothing else on this node runs during a call.
    """
    max_crashes: Count = 3
    """A match ends as failed after so many crashes, if it does not get past them in between."""
    recent_events: Count = 256
    """How many events a match keeps for players who come back.

    A player who missed more gets the state.
    """
    answers: Annotated[int, Meta(ge=1, le=1024)] = 32
    """How many answers to each player's last inputs are kept, about 200 bytes each.

    An input that is sent again gets its first answer and does not act again; one that is older is
    refused. A client sends those inputs again that a lost connection left without an answer, which
    are as many as it sends in a few round trips.
    """
    happenings: Count = 256
    """How many happenings a game may report in one step. More of them are a crash of its match."""
    value_bytes: Count = 131_072
    """The greatest size of a view, result or happening of a game, in either encoding.

    A larger one is a crash of its match. It also limits what a resume repeats. A client's outbox
    must have room for a few of them: else every client would be too slow for its match, and again
    each time it comes back.
    """
    mailbox: Count = 1024
    """How many messages may wait for a match. Requests beyond that are answered `busy`."""
