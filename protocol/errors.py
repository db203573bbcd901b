"""The one table of error codes and close codes.

An error answers one request and leaves the connection open; its `retry` says whether the same
request may succeed later. A close ends the connection; its range says what the client should do:
3000-3499 and 4000-4499 reconnect (with back-off and jitter), 3500-3999 and 4500-4999 do not.
The ranges are Centrifugo's; the standard codes below 3000 are RFC 6455 section 7.4.1.
"""

from __future__ import annotations

from typing import Final

import msgspec


class ErrorCode(msgspec.Struct, frozen=True):
    """A row of the table of errors.

    Attributes:
        code: the stable name.
        message: what it means.
        retry: whether the same request may succeed later.
        status: the status of an answer over HTTP.
    """

    code: str
    message: str
    retry: bool = False
    status: int = 400


class RequestError(Exception):
    """A request failed, and its client is told how.

    Attributes:
        error: the row of the table of errors.
        detail: what is wrong in this case.
        ref: the request's ref, if only that could be decoded.
        retry_in_s: in how many seconds the same request may succeed, if that is known.
    """

    def __init__(
        self,
        error: ErrorCode,
        detail: str = "",
        *,
        ref: int | None = None,
        retry_in_s: float | None = None,
    ) -> None:
        super().__init__(error, detail)
        self.error = error
        self.detail = detail
        self.ref = ref
        self.retry_in_s = retry_in_s

    def __str__(self) -> str:
        return f"{self.error.code}: {self.detail or self.error.message}"


class CloseCode(msgspec.Struct, frozen=True):
    """A row of the table of closes: the code on the wire, its name, and what a client should do."""

    code: int
    name: str
    advice: str

    @property
    def reconnect(self) -> bool:
        """Whether a client should reconnect, by the ranges above."""
        return self.code in {1001, 1006, 1011, 1012, 1013} or (
            3000 <= self.code < 5000 and self.code % 1000 < 500
        )


# --- errors: what a request can be answered with -------------------------------------------------

BAD_MESSAGE: Final = ErrorCode("bad_message", "The message could not be decoded or is not valid.")
UNKNOWN_OP: Final = ErrorCode("unknown_op", "The server knows no such op.", status=404)
NO_SESSION: Final = ErrorCode("no_session", "Open or resume a session first.", status=409)
SESSION_OPEN: Final = ErrorCode(
    "session_open", "This connection has a session already.", status=409
)
BAD_TOKEN: Final = ErrorCode(
    "bad_token", "The token is not valid or has expired; open a session.", status=401
)
TOKEN_EXPIRED: Final = ErrorCode(
    "token_expired", "The access token has run out; refresh it.", status=401
)
SIGNED_OUT: Final = ErrorCode("signed_out", "This sign-in has ended; sign in again.", status=401)
BAD_CREDENTIALS: Final = ErrorCode(
    "bad_credentials", "The address or the password is wrong.", status=401
)
BAD_CODE: Final = ErrorCode("bad_code", "The code is wrong, was used, or has run out.", status=401)
SECOND_FACTOR: Final = ErrorCode(
    "second_factor", "The account asks for its second factor; show it.", status=401
)
SECOND_FACTOR_ON: Final = ErrorCode(
    "second_factor_on", "The account has a second factor already.", status=409
)
WEAK_PASSWORD: Final = ErrorCode("weak_password", "The password is too easy to guess.")
BANNED: Final = ErrorCode("banned", "The account is banned.", status=403)
ACCOUNT_CLOSED: Final = ErrorCode("account_closed", "The account is closed.", status=403)
NO_ACCOUNT: Final = ErrorCode(
    "no_account", "This user has no account; sign in to get one.", status=404
)
BAD_USERNAME: Final = ErrorCode("bad_username", "The username has what none may have.")
NAME_RESERVED: Final = ErrorCode("name_reserved", "Nobody may have this username.", status=409)
NAME_TAKEN: Final = ErrorCode(
    "name_taken", "Another account has this username, or one that looks like it.", status=409
)
SIGN_INS_FULL: Final = ErrorCode(
    "sign_ins_full", "The account has as many sign-ins as it may have; end one.", status=409
)
TOO_MANY_SESSIONS: Final = ErrorCode(
    "too_many_sessions", "Too many sessions come from this address.", retry=True, status=429
)
TOO_MANY_SIGN_INS: Final = ErrorCode(
    "too_many_sign_ins",
    "Too many attempts to sign in: from this address, on this account, or on the server.",
    retry=True,
    status=429,
)
REF_IN_USE: Final = ErrorCode(
    "ref_in_use", "A request with this ref is still being answered.", status=409
)
TOO_MANY_REQUESTS: Final = ErrorCode(
    "too_many_requests",
    "Too many requests are being answered; wait for some.",
    retry=True,
    status=429,
)
RATE_LIMITED: Final = ErrorCode(
    "rate_limited", "This session sends too fast.", retry=True, status=429
)
TOO_LONG: Final = ErrorCode("too_long", "A field is longer than the server allows.")
OUT_OF_RANGE: Final = ErrorCode("out_of_range", "A number is outside what the server allows.")
UNKNOWN_ROOM: Final = ErrorCode("unknown_room", "There is no such room.", status=404)
NOT_JOINED: Final = ErrorCode("not_joined", "Join first.", status=409)
TOO_MANY_TOPICS: Final = ErrorCode(
    "too_many_topics", "This session has joined too many topics.", status=409
)
ROOM_FULL: Final = ErrorCode("room_full", "The room is full.", retry=True, status=409)
UNKNOWN_GAME: Final = ErrorCode("unknown_game", "The server runs no such game.", status=404)
UNKNOWN_MATCH: Final = ErrorCode("unknown_match", "There is no such match.", status=404)
MATCH_FULL: Final = ErrorCode("match_full", "The match has all its players.", status=409)
MATCH_ENDED: Final = ErrorCode("match_ended", "The match is over.", status=410)
TOO_MANY_MATCHES: Final = ErrorCode(
    "too_many_matches",
    "Too many matches run: of all users, of this user, or of this address.",
    retry=True,
    status=429,
)
BAD_INPUT: Final = ErrorCode("bad_input", "The game does not take this input.")
REJECTED: Final = ErrorCode("rejected", "The rules of the game do not allow this now.", status=409)
SEQ_TOO_OLD: Final = ErrorCode(
    "seq_too_old",
    "The seq is not above the last one, and no answer to this input is kept.",
    status=409,
)
NOT_ASKED: Final = ErrorCode("not_asked", "That user has not asked.", status=409)
TOO_MANY_FRIENDS: Final = ErrorCode(
    "too_many_friends",
    "One of the two has as many friends or requests as is allowed.",
    status=409,
)
BAD_CURSOR: Final = ErrorCode("bad_cursor", "The cursor is not valid, or is one of another list.")
VERSION_CONFLICT: Final = ErrorCode(
    "version_conflict", "An object has another version than the request expects.", status=409
)
FORBIDDEN: Final = ErrorCode("forbidden", "This user may not do that.", status=403)
QUOTA_EXCEEDED: Final = ErrorCode(
    "quota_exceeded", "This user would store more than is allowed.", status=403
)
KEY_REUSED: Final = ErrorCode(
    "key_reused", "The idempotency key was used for another request.", status=422
)
TIMEOUT: Final = ErrorCode(
    "timeout", "No answer in time; the request may have acted.", retry=True, status=504
)
BUSY: Final = ErrorCode("busy", "The receiver's queue is full.", retry=True, status=503)
UNAVAILABLE: Final = ErrorCode(
    "unavailable", "A part of the server is restarting or a store is away.", retry=True, status=503
)
FAILED: Final = ErrorCode(
    "failed", "This room or match keeps failing and is out of service.", retry=True, status=503
)
NEEDS_SESSION: Final = ErrorCode(
    "needs_session", "This op is for sessions; ask for it over WebSocket.", status=409
)
UNAUTHENTICATED: Final = ErrorCode(
    "unauthenticated", "Say who asks: send a token or an API key.", status=401
)
NOT_FOUND: Final = ErrorCode("not_found", "There is nothing at this address.", status=404)
UNKNOWN_PROVIDER: Final = ErrorCode(
    "unknown_provider", "The server knows no such way into an account.", status=404
)
IDENTITY_TAKEN: Final = ErrorCode("identity_taken", "Another account has this way in.", status=409)
PROVIDER_AWAY: Final = ErrorCode(
    "provider_away", "The provider of the identity does not answer.", retry=True, status=503
)
PROVIDER_FAILED: Final = ErrorCode(
    "provider_failed", "The provider of the identity has answered nonsense.", retry=True, status=502
)
BAD_PROOF: Final = ErrorCode(
    "bad_proof", "The provider of the identity does not take this proof.", status=401
)
BAD_STATE: Final = ErrorCode(
    "bad_state", "The sign-in was not begun like this, or has run out; begin again.", status=401
)
STATE_USED: Final = ErrorCode(
    "state_used", "This sign-in has been ended once; begin again.", status=409
)
BAD_ID_TOKEN: Final = ErrorCode("bad_id_token", "The ID token is not valid.", status=401)
ID_TOKEN_EXPIRED: Final = ErrorCode("id_token_expired", "The ID token has run out.", status=401)
UNKNOWN_IDENTITY: Final = ErrorCode(
    "unknown_identity", "The account has no such way in.", status=404
)
LAST_WAY: Final = ErrorCode(
    "last_way", "Without this way in nobody could come back to the account.", status=409
)
BAD_USER: Final = ErrorCode("bad_user", "The text is no id of a user.")
METHOD_NOT_ALLOWED: Final = ErrorCode(
    "method_not_allowed", "This address takes other methods.", status=405
)
TOO_SLOW: Final = ErrorCode(
    "too_slow", "The request took too long to arrive.", retry=True, status=408
)
BODY_TOO_BIG: Final = ErrorCode("body_too_big", "The body is over the limit.", status=413)
NOT_JSON: Final = ErrorCode(
    "not_json", "The body must be of the type application/json.", status=415
)
HEAD_TOO_BIG: Final = ErrorCode("head_too_big", "The headers are over the limit.", status=431)
INTERNAL: Final = ErrorCode(
    "internal", "The server made a mistake; it has been logged.", status=500
)

ERRORS: Final[dict[str, ErrorCode]] = {
    row.code: row
    for row in (
        BAD_MESSAGE, UNKNOWN_OP, NO_SESSION, SESSION_OPEN, BAD_TOKEN, TOKEN_EXPIRED, SIGNED_OUT,
        BAD_CREDENTIALS, BAD_CODE, WEAK_PASSWORD, SECOND_FACTOR, SECOND_FACTOR_ON,
        BANNED, ACCOUNT_CLOSED, NO_ACCOUNT, BAD_USERNAME, NAME_RESERVED, NAME_TAKEN,
        SIGN_INS_FULL, TOO_MANY_SESSIONS, TOO_MANY_SIGN_INS, REF_IN_USE,
        TOO_MANY_REQUESTS, RATE_LIMITED, TOO_LONG, OUT_OF_RANGE, UNKNOWN_ROOM, NOT_JOINED,
        TOO_MANY_TOPICS, ROOM_FULL, UNKNOWN_GAME, UNKNOWN_MATCH, MATCH_FULL, MATCH_ENDED,
        TOO_MANY_MATCHES, BAD_INPUT, REJECTED, SEQ_TOO_OLD, NOT_ASKED,
        TOO_MANY_FRIENDS, BAD_CURSOR, VERSION_CONFLICT, FORBIDDEN,
        QUOTA_EXCEEDED, KEY_REUSED, TIMEOUT, BUSY, UNAVAILABLE, FAILED, NEEDS_SESSION,
        UNAUTHENTICATED, UNKNOWN_PROVIDER, PROVIDER_AWAY, PROVIDER_FAILED, BAD_PROOF, BAD_STATE,
        STATE_USED, BAD_ID_TOKEN, ID_TOKEN_EXPIRED, IDENTITY_TAKEN, UNKNOWN_IDENTITY, LAST_WAY,
        BAD_USER, NOT_FOUND, METHOD_NOT_ALLOWED, TOO_SLOW, BODY_TOO_BIG, NOT_JSON,
        HEAD_TOO_BIG, INTERNAL,
    )
}  # fmt: skip

# --- closes: why a connection ended --------------------------------------------------------------

NORMAL: Final = CloseCode(1000, "normal", "The client or an ended session closed; nothing to do.")
PROTOCOL_ERROR: Final = CloseCode(1002, "protocol_error", "Mend the client: not WebSocket.")
UNSUPPORTED_DATA: Final = CloseCode(
    1003, "unsupported_data", "Mend the client: binary frames for msgpack, text frames for json."
)
INVALID_TEXT: Final = CloseCode(1007, "invalid_text", "Mend the client: text must be UTF-8.")
TOO_BIG: Final = CloseCode(1009, "too_big", "Mend the client: a message is over the limit.")
SERVER_ERROR: Final = CloseCode(1011, "server_error", "Reconnect and resume.")

DRAIN: Final = CloseCode(4000, "drain", "The server stops; reconnect after a random wait, resume.")
SLOW_CONSUMER: Final = CloseCode(
    4001, "slow_consumer", "The client did not read what was sent; reconnect and resume."
)
KEEPALIVE_TIMEOUT: Final = CloseCode(
    4002, "keepalive_timeout", "Nothing was heard for too long; reconnect and resume."
)
SESSION_FAILED: Final = CloseCode(
    4003, "session_failed", "The session crashed; reconnect and resume."
)
OVERLOADED: Final = CloseCode(4004, "overloaded", "Too many connections; reconnect later.")
NO_SESSION_IN_TIME: Final = CloseCode(
    4005, "no_session_in_time", "No session was opened in time; reconnect and open one."
)
PART_LOST: Final = CloseCode(
    4006, "part_lost", "The part of the server with a room or match is gone; reconnect and resume."
)

TAKEN_OVER: Final = CloseCode(
    4500, "taken_over", "A newer connection resumed this session; do not fight it."
)
FLOODING: Final = CloseCode(4501, "flooding", "Far over the rate limit; mend the client.")
SESSION_ENDED: Final = CloseCode(4502, "session_ended", "The session is over; open a new one.")

TOKEN_RAN_OUT: Final = CloseCode(
    4503, "token_ran_out", "The access token has run out; get a new one, and resume with it."
)
SIGN_IN_ENDED: Final = CloseCode(4504, "sign_in_ended", "The sign-in has ended; sign in again.")
ACCOUNT_BANNED: Final = CloseCode(4505, "account_banned", "The account is banned.")
ACCOUNT_GONE: Final = CloseCode(4506, "account_closed", "The account is closed.")

CLOSES: Final[dict[int, CloseCode]] = {
    row.code: row
    for row in (
        NORMAL, PROTOCOL_ERROR, UNSUPPORTED_DATA, INVALID_TEXT, TOO_BIG, SERVER_ERROR,
        DRAIN, SLOW_CONSUMER, KEEPALIVE_TIMEOUT, SESSION_FAILED, OVERLOADED, NO_SESSION_IN_TIME,
        PART_LOST, TAKEN_OVER, FLOODING, SESSION_ENDED, TOKEN_RAN_OUT, SIGN_IN_ENDED,
        ACCOUNT_BANNED, ACCOUNT_GONE,
    )
}  # fmt: skip
