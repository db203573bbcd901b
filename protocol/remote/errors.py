# ruff: noqa: N818 - the names say what happened, as trio's own do
"""The exceptions of the client."""

from __future__ import annotations

import msgspec

from protocol.errors import CLOSES, CloseCode
from protocol.messages.envelope import ErrorReply


class ClientError(Exception):
    """The base class of every exception that the client raises by itself."""


class CannotConnect(ClientError):
    """A connection failed: nobody listens, the name is unknown, the handshake was refused.

    `permanent`: another attempt would fail as well (a wrong path, a certificate not trusted).
    """

    def __init__(self, url: str, why: str, *, permanent: bool = False) -> None:
        super().__init__(url, why)
        self.url = url
        self.why = why
        self.permanent = permanent

    def __str__(self) -> str:
        return f"cannot connect to {self.url}: {self.why}"


class RequestFailed(ClientError):
    """The server answered with an error.

    Attributes:
        op: the op of the request.
        code: the code in the table of errors.
        message: a text for people.
        retry: whether the same request may succeed later.
        retry_in_s: in how many seconds, if the server said so.
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
        """Make the exception of an error reply."""
        in_s = None if reply.retry_in_s is msgspec.UNSET else reply.retry_in_s
        return cls(op, reply.code, reply.message, retry=reply.retry, retry_in_s=in_s)

    def __str__(self) -> str:
        return f"{self.op}: {self.code}: {self.message}"


class RequestTimedOut(ClientError, TimeoutError):
    """There was no answer within the deadline. `sent`: it was sent, and may still act."""

    def __init__(self, op: str, timeout_s: float, *, sent: bool) -> None:
        super().__init__(op, timeout_s, sent)
        self.op = op
        self.timeout_s = timeout_s
        self.sent = sent

    def __str__(self) -> str:
        fate = "it may act yet" if self.sent else "it was never sent"
        return f"{self.op}: no answer within {self.timeout_s:g} s; {fate}"


class ConnectionLost(ClientError):
    """The connection broke before the answer to a request that must not be sent twice.

    The request may have acted.
    """

    def __init__(self, op: str) -> None:
        super().__init__(op)
        self.op = op

    def __str__(self) -> str:
        return f"{self.op}: the connection broke before the answer; it may have acted"


class Disconnected(ClientError):
    """The session is over, and the client makes no further attempt to connect.

    Attributes:
        why: a text for people.
        close: the row of the table of closes if the server closed the connection, else None.
        code: the name of that row, such as "sign_in_ended"; or the code of the error with which the
            server refused to resume the session, such as "banned"; empty: neither is the reason.
    """

    def __init__(self, why: str, close: CloseCode | None = None, *, code: str = "") -> None:
        super().__init__(why, close)
        self.why = why
        self.close = close
        self.code = code or (close.name if close is not None else "")

    def __str__(self) -> str:
        return self.why

    def again(self) -> Disconnected:
        """Return the same error for somebody else who waits."""
        return Disconnected(self.why, self.close, code=self.code)


class TopicGone(ClientError):
    """The session is no longer in a room, match or inbox. `code`: a code in the table of errors."""

    def __init__(self, topic: str, code: str) -> None:
        super().__init__(topic, code)
        self.topic = topic
        self.code = code

    def __str__(self) -> str:
        return f"{self.topic} is lost: {self.code}"


def close_row(code: int) -> CloseCode:
    """Return the row of a close code; for a code that is not in the table, one made up by range."""
    return CLOSES.get(code) or CloseCode(code, "unnamed", "By its range.")
