"""What every message has in common: the op, the ref of a request, the two kinds of reply.

One message is one map with `op`. A client's `ref` makes it a request, which gets exactly one reply
that bears the same ref: `ok` or `error`. Without a ref nothing is answered. Pushes bear no ref.
Unknown fields are ignored, so that either side may be the older one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from protocol.errors import RequestError

MAX_REF = 2**53 - 1  # what a JSON number carries exactly (RFC 8259, section 6)

Ref = Annotated[int, Meta(ge=0, le=MAX_REF)]
Key = Annotated[str, Meta(min_length=1, max_length=64)]
"""An idempotency key: a command retried with the same key acts once."""
Name = Annotated[str, Meta(min_length=1, max_length=64)]
Ident = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:\-]{1,64}\Z")]
"""The name of a room, a match or a game."""


class Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", gc=False):
    """What a client sends. `gc=False`: a decoded message has no reference cycles to collect."""

    ref: Ref | None = None


class Push(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", gc=False, omit_defaults=True):
    """What the server sends on its own account."""


class Ok(msgspec.Struct, frozen=True, tag_field="op", tag="ok", gc=False):
    """The request with this `ref` succeeded; `data` is what its op promises."""

    ref: int
    data: Any = None


class ErrorReply(msgspec.Struct, frozen=True, tag_field="op", tag="error", gc=False):
    """The request with this `ref` failed. `ref` is null where the server could not read one.

    `refs` are further requests that failed of the same. `retry_in_s`: when the same request may
    succeed, in seconds, where that is known.
    """

    ref: int | None
    code: str
    message: str
    retry: bool = False
    refs: list[int] | msgspec.UnsetType = msgspec.UNSET
    retry_in_s: float | msgspec.UnsetType = msgspec.UNSET

    @classmethod
    def of(cls, error: RequestError, ref: int | None, others: Sequence[int] = ()) -> ErrorReply:
        """The answer to the request `ref`, and to `others`, that failed of this."""
        row = error.error
        text = f"{row.message} {error.detail}".rstrip()
        refs = list(others) or msgspec.UNSET
        retry_in_s: float | msgspec.UnsetType = msgspec.UNSET
        if error.retry_in_s is not None:
            retry_in_s = math.ceil(error.retry_in_s * 100) / 100
            text += f" Retry in {retry_in_s:g} s."
        return cls(ref, row.code, text, row.retry, refs, retry_in_s)

    def each(self) -> Iterator[ErrorReply]:
        """The reply to each request by itself."""
        yield self
        for ref in self.refs or ():
            yield ErrorReply(ref, self.code, self.message, self.retry, retry_in_s=self.retry_in_s)


class Position(msgspec.Struct, frozen=True, gc=False):
    """Where a client stands on a topic.

    `offset` counts the topic's durable pushes from 1; other pushes bear the offset they came
    after. `epoch` names the incarnation that gave the offset: together they tell a true position
    from one that a crash made void.
    """

    epoch: int
    offset: Annotated[int, Meta(ge=0)]
