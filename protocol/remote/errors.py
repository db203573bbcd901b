# ruff: noqa: N818 - the names say what happened, as trio's own do
"""What can go wrong for a user of the client, one exception each."""

from __future__ import annotations

import msgspec

from protocol.errors import CLOSES, CloseCode
from protocol.messages.envelope import ErrorReply


class ClientError(Exception):
    """Every exception that the client raises by itself is one of these."""


class CannotConnect(ClientError):
    """No connection came about: nobody listens, the name is unknown, the handshake was refused.

    `permanent`: trying again as it is makes no sense (a wrong path, a certificate not trusted).
    """

    def __init__(self, url: str, why: str, *, permanent: bool = False) -> None:
        super().__init__(url, why)
        self.url = url
        self.why = why
        self.permanent = permanent

    def __str__(self) -> str:
        return f"cannot connect to {self.url}: {self.why}"


class RequestFailed(ClientError):
    """The server answered with an error: `code` of the table, `message` for people, `retry`, and
    `retry_in_s`, if the server said when.
    """

    def __init__(
        self, op: str, code: str, message: str, *, retry: bool, retry_in_s: float | None = None
    ) -> None:
        super().__init__(op, code, message, retry)
        self.op = op
        self.code = code
        self.message = message
        self.retry = retry
        self.retry_in_s = retry_in_s

    @classmethod
    def of(cls, op: str, reply: ErrorReply) -> RequestFailed:
        """As the server's reply says."""
        in_s = None if reply.retry_in_s is msgspec.UNSET else reply.retry_in_s
        return cls(op, reply.code, reply.message, retry=reply.retry, retry_in_s=in_s)

    def __str__(self) -> str:
        return f"{self.op}: {self.code}: {self.message}"


class RequestTimedOut(ClientError, TimeoutError):
    """No answer within the deadline. `sent`: the request had left, and may act yet."""

    def __init__(self, op: str, timeout_s: float, *, sent: bool) -> None:
        super().__init__(op, timeout_s, sent)
        self.op = op
        self.timeout_s = timeout_s
        self.sent = sent

    def __str__(self) -> str:
        fate = "it may act yet" if self.sent else "it was never sent"
        return f"{self.op}: no answer within {self.timeout_s:g} s; {fate}"


class ConnectionLost(ClientError):
    """The connection broke under a request that must not be sent twice; it may have acted."""

    def __init__(self, op: str) -> None:
        super().__init__(op)
        self.op = op

    def __str__(self) -> str:
        return f"{self.op}: the connection broke before the answer; it may have acted"


class Disconnected(ClientError):
    """The session is over, and the client will not come back.

    `why` for people; `close` is the row of the table where the server closed, else None.
    """

    def __init__(self, why: str, close: CloseCode | None = None) -> None:
        super().__init__(why, close)
        self.why = why
        self.close = close

    def __str__(self) -> str:
        return self.why


class TopicGone(ClientError):
    """A room or match one was in is no more; `code` is one of the table of errors."""

    def __init__(self, topic: str, code: str) -> None:
        super().__init__(topic, code)
        self.topic = topic
        self.code = code

    def __str__(self) -> str:
        return f"{self.topic} is lost: {self.code}"


def close_row(code: int) -> CloseCode:
    """The close's row of the table, or one made up for a code that is not in it: the ranges say
    whether to reconnect.
    """
    return CLOSES.get(code) or CloseCode(code, "unnamed", "By its range.")
