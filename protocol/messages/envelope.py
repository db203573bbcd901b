"""What all messages have in common: the op, the ref, and the two kinds of reply.

A message is a map with an `op`. A request may have a `ref`; then it gets exactly one reply with the
same ref, `ok` or `error`. A request without a ref is not answered. Pushes have no ref. Unknown
fields are ignored, so that client and server may be of different versions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from protocol.errors import RequestError

# The largest integer that JSON carries exactly everywhere (RFC 8259, section 6).
MAX_REF = 2**53 - 1

Ref = Annotated[int, Meta(ge=0, le=MAX_REF)]
Key = Annotated[str, Meta(min_length=1, max_length=64)]
"""An idempotency key. Requests with the same key act once."""
Name = Annotated[str, Meta(min_length=1, max_length=64)]
IDENT: Final = re.compile(r"[A-Za-z0-9_.:\-]{1,64}")
Ident = Annotated[str, Meta(pattern=rf"^{IDENT.pattern}\Z")]
"""The name of a room, a match or a game, or the id of a user."""


class Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", gc=False):
    """A message from a client. `gc=False`: a decoded message has no reference cycles."""

    ref: Ref | None = None


class Push(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", gc=False, omit_defaults=True):
    """A message that the server sends without being asked."""


class Ok(msgspec.Struct, frozen=True, tag_field="op", tag="ok", gc=False):
    """The request with this `ref` succeeded. `data` is the answer of its op."""

    ref: int
    data: Any = None


class ErrorReply(msgspec.Struct, frozen=True, tag_field="op", tag="error", gc=False):
    """The request with this `ref` failed. `ref` is null if the server could not read one.

    `refs` are other requests that failed for the same reason. `retry_in_s` says in how many seconds
    the same request may succeed, if that is known.
    """

    ref: int | None
    code: str
    message: str
    retry: bool = False
    refs: list[int] | msgspec.UnsetType = msgspec.UNSET
    retry_in_s: float | msgspec.UnsetType = msgspec.UNSET

    @classmethod
    def of(cls, error: RequestError, ref: int | None, others: Sequence[int] = ()) -> ErrorReply:
        """Return the reply to the request `ref`, and to the `others`, that failed with this
        error.
        """
        row = error.error
        text = f"{row.message} {error.detail}".rstrip()
        refs = list(others) or msgspec.UNSET
        retry_in_s: float | msgspec.UnsetType = msgspec.UNSET
        if error.retry_in_s is not None:
            retry_in_s = math.ceil(error.retry_in_s * 100) / 100
            text += f" Retry in {retry_in_s:g} s."
        return cls(ref, row.code, text, row.retry, refs, retry_in_s)

    def each(self) -> Iterator[ErrorReply]:
        """Yield a reply for each of the requests."""
        yield self
        for ref in self.refs or ():
            yield ErrorReply(ref, self.code, self.message, self.retry, retry_in_s=self.retry_in_s)


class Position(msgspec.Struct, frozen=True, gc=False):
    """A client's position in a topic.

    `offset` counts the topic's durable pushes from 1; any other push has the offset of the durable
    one before it. `epoch` is the incarnation that gave the offset. Together they tell a true
    position from one that a crash made void.
    """

    epoch: int
    offset: Annotated[int, Meta(ge=0)]
