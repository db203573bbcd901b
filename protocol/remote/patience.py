"""`patiently`: a request that waits while the server only finds it too fast."""

from __future__ import annotations

from typing import TypeVar

import trio

from protocol.errors import RATE_LIMITED
from protocol.messages.envelope import Request
from protocol.remote.calls import Caller
from protocol.remote.errors import RequestFailed

T = TypeVar("T")


async def patiently(caller: Caller, request: Request, answer: type[T]) -> T:
    """Send a request; send it again for as long as the server only finds it too fast."""
    while True:
        try:
            return await caller.request(request, answer)
        except RequestFailed as failed:
            if failed.code != RATE_LIMITED.code or failed.retry_in_s is None:
                raise
            await trio.sleep(failed.retry_in_s)
