"""What a test gets for a request: the data of its `ok`, or a `Refusal`."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import msgspec

from protocol.messages import EVERY_OP, AnyRequest
from protocol.messages.envelope import ErrorReply, Ok


class Refusal(Exception):  # noqa: N818 - an answer
    """A request was answered with an error."""

    def __init__(self, reply: ErrorReply) -> None:
        super().__init__(reply.code, reply.message)
        self.reply = reply
        self.code = reply.code


def data_of(request: AnyRequest, reply: Ok | ErrorReply) -> Any:
    """Return the data that answers a request, as its type. Raises Refusal."""
    if isinstance(reply, ErrorReply):
        raise Refusal(reply)
    kind = EVERY_OP.answers[str(type(request).__struct_config__.tag)]
    return None if kind is None else msgspec.convert(reply.data, kind)


async def code_of(asking: Awaitable[Any]) -> str:
    """Return the code of the error that answers a request, which must fail."""
    try:
        data = await asking
    except Refusal as refusal:
        return refusal.code
    raise AssertionError(f"not refused: {data}")
