"""Settings of matches, and of the directory that knows them.

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
    """Matches, and the directory that knows them."""

    max_matches: Count = 1_000
    """Matches that run at once."""
    max_matches_of_user: Count = 20
    """The same of those that one user had made."""
    max_matches_of_address: Annotated[int, Meta(ge=0)] = 200
    """The same of those that all clients of one address had made; 0: no limit."""
    params_bytes: Count = 8_192
    """The longest `params` of a match, as msgpack. They are part of its log and its snapshots."""
    list_limit: Count = 100
    """Matches one match.list may name."""
    rejoin_within_s: Seconds = 60.0
    """How long a player whose session ended keeps the place; 0: leaves at once."""
    abandon_after_s: PositiveSeconds = 120.0
    """A match without any connected player ends after this."""
    unjoined_after_s: PositiveSeconds = 15.0
    """One that nobody has joined ends so long after its creation, if that is sooner: it holds one
    of `max_matches`, for nobody."""
    remember_ended_s: PositiveSeconds = 3_600.0
    """How long the idempotency key of an ended match is known."""
    log_s: Seconds = 0.0
    """The log of an ended match is kept for so long, then nothing is left of it; 0: for ever."""
    ended_keys: Count = 10_000
    """So many of them at most, the last ones; about 500 bytes each."""
    snapshot_interval_s: PositiveSeconds = 1.0
    """A crash sets a match with ticks back by at most this."""
    catch_up_ticks: Count = 5
    """After a stall at most so many ticks are run at once; the rest is given up."""
    call_limit_s: PositiveSeconds = 0.5
    """One call of a game that takes longer is interrupted, or is found when it returns from C, and
    is a crash of its match. Nothing else of this node runs meanwhile."""
    max_crashes: Count = 3
    """A match that crashes so often without getting past it ends as failed."""
    recent_events: Count = 256
    """Events a match keeps for players who come back; one that missed more gets the state."""
    answers: Annotated[int, Meta(ge=1, le=1024)] = 32
    """Of each player's inputs the answers to the last so many are remembered, so that one that is
    sent again is answered as the first time and does not act again; an older one is refused. It is
    for what a break leaves without an answer: some RTTs of inputs. About 200 bytes each."""
    happenings: Count = 256
    """What a game may say in one step; more is a crash of its match."""
    value_bytes: Count = 131_072
    """The longest view, result or happening of a game, in either encoding: more is a crash of its
    match. Also the most that a resume repeats. An outbox has room for a few of them, or every
    client would be too slow for its match, and too slow again whenever it comes back."""
    mailbox: Count = 1024
    """Messages that wait for their match; beyond it requests are answered `busy`."""
