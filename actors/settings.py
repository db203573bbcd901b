"""Settings of sessions, rooms and matches: the limits to what one client can make the server do.

Times are in seconds, sizes in bytes. Each Struct is one section of config.toml.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(ge=0)]
PositiveSeconds = Annotated[float, Meta(gt=0)]
Rate = Annotated[float, Meta(ge=0)]
"""So many a second on average; 0: no limit."""
Count = Annotated[int, Meta(ge=1)]
STORED_SECRET = "stored"  # noqa: S105 - the word for the one that is not in the configuration
TokenSecret = Annotated[
    str,
    Meta(pattern=r"^(stored|.{16,})\Z", description='"stored", or text of at least 16 characters'),
]


class SessionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A session: how long it lives, and how much of it the server bears."""

    resume_within_s: Seconds = 60.0
    """How long a session outlives its connection; 0: it ends with it."""
    token_valid_s: PositiveSeconds = 30 * 86_400.0
    """How long a token, once issued, opens a session of the same user."""
    token_secrets: Annotated[tuple[TokenSecret, ...], Meta(min_length=1)] = (STORED_SECRET,)
    """What tokens are signed with: the first signs, all are accepted. `stored` is the one that the
    server makes at its first start and keeps in PostgreSQL."""
    max_sessions: Count = 100_000
    """Sessions of this process, those that wait for their client included. The last tenth is for
    those who resume."""
    address_sessions: Annotated[int, Meta(ge=0)] = 2_000
    """Of these, how many one address may have opened; 0: no limit."""
    address_opens_per_s: Rate = 10.0
    """New sessions of one address."""
    address_opens_burst: Count = 1_000
    address_resumes_per_s: Rate = 20.0
    """Resumes of one address, which new sessions take nothing from."""
    address_resumes_burst: Count = 2_000
    topics: Annotated[int, Meta(ge=1, le=1024)] = 64
    """Rooms and matches that one session may be in at once."""
    in_flight: Count = 64
    """Requests of one session that are being answered at once."""
    in_flight_all: Count = 4096
    """The same of all sessions of this process; fewer while answers take longer than 2 s.
    Beyond it sends, inputs and questions are answered `busy`."""
    mailbox: Count = 256
    """Requests that wait for their session; beyond it the connection is not read from."""
    messages_per_s: Rate = 100.0
    messages_burst: Count = 200
    """So many may come at once after a pause."""
    bytes_per_s: Rate = 131_072.0
    bytes_burst: Count = 524_288
    flooding_s: PositiveSeconds = 10.0
    """A client that sends for so long at twice the allowed rate is closed as flooding; sooner
    when it sends faster, later when slower, never when within its rate."""
    deliveries_per_s: Rate = 20_000.0
    """What one session may have pushed to others: a message to a room counts once for each member,
    where there are more than 100 of them."""
    deliveries_burst: Count = 100_000
    address_deliveries_per_s: Rate = 200_000.0
    """The same of all sessions of one address."""
    address_deliveries_burst: Count = 500_000
    deliveries_all_per_s: Rate = 1_000_000.0
    """The same of all sessions of this process."""
    deliveries_all_burst: Count = 1_000_000
    ask_timeout_s: PositiveSeconds = 5.0
    """How long a room or match has for an answer."""
    activations_per_s: Rate = 10.0
    """Rooms and matches that a session may bring to life: that are not in memory and that it names
    in a join or a resume, and matches that it has made. One costs about ten plain requests."""
    activations_burst: Count = 128
    """So many may come at once after a pause. Not fewer than `topics`, or what a session was in
    is refused to it in part when it comes back to a server that has just started."""
    address_activations_per_s: Rate = 50.0
    """The same of all sessions of one address."""
    address_activations_burst: Count = 500
    activations_all_per_s: Rate = 1_000.0
    """The same of all sessions of this process."""
    activations_all_burst: Count = 20_000
    """And at once: a server that has just started is asked for all that was going on."""
    resume_timeout_s: PositiveSeconds = 30.0
    """The same for what a resumed topic missed, which may have to come from the stores first."""


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
