"""The texts in which the terminal chat tells its user of errors.

The errors' own texts are for programmers and logs. They name codes and ops, and say what a client
should do.
"""

from __future__ import annotations

from typing import Final

from protocol.errors import (
    ACCOUNT_BANNED,
    ACCOUNT_GONE,
    BUSY,
    DRAIN,
    ERRORS,
    FLOODING,
    KEEPALIVE_TIMEOUT,
    NO_SESSION_IN_TIME,
    OVERLOADED,
    PART_LOST,
    RATE_LIMITED,
    SERVER_ERROR,
    SESSION_ENDED,
    SESSION_FAILED,
    SIGN_IN_ENDED,
    SLOW_CONSUMER,
    TAKEN_OVER,
    TIMEOUT,
    TOKEN_RAN_OUT,
    TOO_MANY_REQUESTS,
    UNAVAILABLE,
    CloseCode,
)
from protocol.remote.errors import (
    CannotConnect,
    ClientError,
    ConnectionLost,
    Disconnected,
    RequestFailed,
    RequestTimedOut,
    TopicGone,
)

CLOSED: Final = {
    SERVER_ERROR.code: "the server had a fault",
    DRAIN.code: "the server is stopping or restarting",
    SLOW_CONSUMER.code: "this terminal did not keep up with what was said",
    KEEPALIVE_TIMEOUT.code: "the connection was silent for too long",
    SESSION_FAILED.code: "the server had a fault",
    OVERLOADED.code: "the server is full",
    NO_SESSION_IN_TIME.code: "the connection was too slow",
    PART_LOST.code: "a part of the server is restarting",
    TAKEN_OVER.code: "you are connected from elsewhere",
    FLOODING.code: "too much was sent",
    SESSION_ENDED.code: "the session is over",
    TOKEN_RAN_OUT.code: "the sign-in has to be renewed",
    SIGN_IN_ENDED.code: "you have been signed out",
    ACCOUNT_BANNED.code: "the account is banned",
    ACCOUNT_GONE.code: "the account is closed",
}
REFUSED: Final = {
    BUSY.code: "the server is busy; try again",
    TOO_MANY_REQUESTS.code: "the server is busy; try again",
    UNAVAILABLE.code: "the server cannot do that just now; try again",
    TIMEOUT.code: "the server took too long; it may have happened all the same",
    RATE_LIMITED.code: "too much at once; wait a moment",
}


def in_words(error: ClientError) -> str:
    """Return in a few words, without codes, what happened."""
    match error:
        case Disconnected(close=CloseCode(code=code)) if code in CLOSED:
            text = CLOSED[code]
        case RequestFailed(code=code) if code in REFUSED:
            text = REFUSED[code]
        case RequestFailed(message=message):
            text = message
        case RequestTimedOut(sent=sent):
            fate = "it may arrive yet" if sent else "it was not sent"
            text = f"no answer from the server; {fate}"
        case ConnectionLost():
            text = "the connection broke; it may have arrived"
        case TopicGone(topic=topic, code=code):
            why = ERRORS[code].message if code in ERRORS else code
            text = f"{topic.partition(':')[2]} is lost: {why}"
        case CannotConnect(why=why):
            text = f"cannot connect: {why}"
        case _:
            text = str(error)
    return text
