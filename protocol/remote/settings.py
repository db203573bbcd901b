"""The client's settings, and the states of its connection."""

from __future__ import annotations

import math

import msgspec

from protocol.remote.backoff import ReconnectBackoff
from protocol.remote.errors import ClientError


class ClientSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The time limits and bounds of the client. Times are in seconds."""

    connect_timeout_s: float = 10.0
    """How long an attempt may take: once for TCP, TLS and WebSocket, once to open the session."""
    request_timeout_s: float = 10.0
    """How long a request may take, the wait for a connection included."""
    close_timeout_s: float = 2.0
    """How long the client tries to end the session on the server."""
    backoff: ReconnectBackoff = ReconnectBackoff()
    stable_after_s: float = 5.0
    """After a connection that lasted so long, the back-off starts from its first step."""
    give_up_after_s: float = math.inf
    """The session ends after so long without a connection."""
    in_flight: int = 32
    """Requests without an answer. Further ones wait. The server refuses more than 64."""
    buffer: int = 1024
    """Updates of one topic that wait to be read. Beyond it, a `Gap` replaces the oldest."""
    max_message_bytes: int = 4 * 2**20
    """The longest message accepted. A history of 200 messages of 4 KiB fits easily."""


class Connected(msgspec.Struct, frozen=True):
    """There is a connection again.

    `resumed`: it is the same session. False: it is a new one of the same user, in the same rooms
    and matches.
    """

    resumed: bool


class Reconnecting(msgspec.Struct, frozen=True):
    """There is no connection; attempt number `attempt`, from 1, is in `wait_s` seconds.

    `why`: a text for logs. `error`: the error of the last connection or of the last attempt.
    """

    why: str
    attempt: int
    wait_s: float
    error: ClientError


Status = Connected | Reconnecting
