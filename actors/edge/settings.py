"""Settings of a session: the limits to what one client can make the server do.

Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from actors.quantities import Count, PositiveSeconds, Rate, Seconds

STORED_SECRET = "stored"  # noqa: S105 - says that the secret is in PostgreSQL
TokenSecret = Annotated[
    str,
    Meta(pattern=r"^(stored|.{16,})\Z", description='"stored", or text of at least 16 characters'),
]


class SessionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a session lives, and the limits to what its client can make the server do."""

    resume_within_s: Seconds = 60.0
    """How long a session outlives its connection; 0: it ends with it."""
    token_valid_s: PositiveSeconds = 30 * 86_400.0
    """How long after its issue a token opens a session of the same user."""
    token_secrets: Annotated[tuple[TokenSecret, ...], Meta(min_length=1)] = (STORED_SECRET,)
    """The secrets that sign tokens: the first signs, all are accepted. `stored` stands for the
    secret that the server makes at its first start and keeps in PostgreSQL."""
    token_grace_s: Seconds = 30.0
    """How long a session of an account goes on after its access token has run out."""
    max_sessions: Count = 100_000
    """Sessions of this process, those that wait for their client included. The last tenth is kept
    for resumes."""
    address_sessions: Annotated[int, Meta(ge=0)] = 2_000
    """Sessions of one address; 0: no limit. The last tenth is kept for resumes."""
    address_opens_per_s: Rate = 10.0
    """New sessions of one address."""
    address_opens_burst: Count = 1_000
    address_resumes_per_s: Rate = 20.0
    """Resumes of one address. New sessions do not use up this budget."""
    address_resumes_burst: Count = 2_000
    topics: Annotated[int, Meta(ge=1, le=1024)] = 64
    """Rooms and matches that one session may be in at once."""
    in_flight: Count = 64
    """Requests of one session that are being answered at once."""
    in_flight_all: Count = 4096
    """The same for all sessions of this process; fewer while answers take longer than 2 s.
    Beyond it sends, inputs and questions are answered `busy`."""
    address_in_flight: Annotated[int, Meta(ge=0)] = 1024
    """Of these, how many of one address; 0: no limit. The last eighth of `in_flight_all` is for
    clients of addresses that have fewer than 16."""
    mailbox: Count = 256
    """Requests that wait for their session. Beyond it, the connection is not read from."""
    messages_per_s: Rate = 100.0
    messages_burst: Count = 200
    """So many may come at once after a pause."""
    address_messages_per_s: Rate = 4_000.0
    """The same of all sessions of one address."""
    address_messages_burst: Count = 8_000
    bytes_per_s: Rate = 131_072.0
    bytes_burst: Count = 524_288
    flooding_s: PositiveSeconds = 10.0
    """How long a client may send at twice the allowed rate before its connection is closed as a
    flood. The time is shorter at a higher rate; a client within its rate is never closed."""
    deliveries_per_s: Rate = 20_000.0
    """Pushes to others that one session may cause. A message to a room counts once for each member,
    if there are more than 100 of them."""
    deliveries_burst: Count = 100_000
    address_deliveries_per_s: Rate = 200_000.0
    """The same for all sessions of one address."""
    address_deliveries_burst: Count = 500_000
    deliveries_all_per_s: Rate = 1_000_000.0
    """The same for all sessions of this process."""
    deliveries_all_burst: Count = 1_000_000
    ask_timeout_s: PositiveSeconds = 5.0
    """How long a room or match has for an answer."""
    activations_per_s: Rate = 10.0
    """Activations by one session: joins and resumes of rooms and matches that are not in memory,
    and new matches. One costs about ten plain requests."""
    activations_burst: Count = 128
    """So many may come at once after a pause. It should not be less than `topics`: a session that
    comes back to a server which has just started would get only a part of its topics."""
    address_activations_per_s: Rate = 50.0
    """The same for all sessions of one address."""
    address_activations_burst: Count = 500
    activations_all_per_s: Rate = 1_000.0
    """The same for all sessions of this process."""
    activations_all_burst: Count = 20_000
    """Large, because all clients of a server that has just started ask for their topics at once."""
    resume_timeout_s: PositiveSeconds = 30.0
    """How long a room or match has to resume a session; it may have to read the stores first."""
