"""The client's settings, and what it tells about its connection."""

from __future__ import annotations

import math

import msgspec

from protocol.remote.backoff import Backoff
from protocol.remote.errors import ClientError


class ClientSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How patient the client is, and how much it keeps. Times in seconds."""

    connect_timeout_s: float = 10.0
    """For one attempt: TCP, TLS, WebSocket, and the session's opening each."""
    request_timeout_s: float = 10.0
    """For an answer, waiting for a connection included."""
    close_timeout_s: float = 2.0
    """For a farewell on leaving."""
    backoff: Backoff = Backoff()
    stable_after_s: float = 5.0
    """A connection that held so long starts the back-off anew when it breaks."""
    give_up_after_s: float = math.inf
    """Without a connection for so long the session ends."""
    in_flight: int = 32
    """Requests without an answer yet; beyond it they wait. The server refuses beyond 64."""
    buffer: int = 1024
    """Updates of one topic that wait to be read; beyond it the oldest are dropped for a `Gap`."""
    max_message_bytes: int = 4 * 2**20
    """The longest message taken: a history of 200 messages of 4 KiB, with room to spare."""


class Connected(msgspec.Struct, frozen=True):
    """There is a connection again. `resumed`: the session lived on; else it is a new one of the
    same user, in the same rooms and matches.
    """

    resumed: bool


class Reconnecting(msgspec.Struct, frozen=True):
    """There is no connection; attempt number `attempt`, from 1, is in `wait_s` seconds.

    `why` is for logs; `error` is what broke the last connection or kept the next from coming about.
    """

    why: str
    attempt: int
    wait_s: float
    error: ClientError


Status = Connected | Reconnecting
