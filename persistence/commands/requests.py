"""The request to a `CommandWorker`, and its reply."""

from __future__ import annotations

from typing import Any

import msgspec

from persistence.requests import StoreRequest


class Execute(StoreRequest, frozen=True, gc=False):
    """Runs a command. Reply: `Done`, or the exception of the command's function.

    Attributes:
        command: the command.
        user: the user whose command it is.
        key: an idempotency key. A command of the same service and user with the same key is a
            retry, or raises `KeyReused` if it is another command. None: every command acts.
        expires_at: the deadline, in seconds of time.monotonic. A command that has not begun by then
            does not act, and raises `CommandExpired`.
    """

    command: Any
    user: str
    key: str | None
    expires_at: float


class Done(msgspec.Struct, frozen=True, gc=False):
    """The answer to a command that has committed; `repeated`: it is that of an earlier one."""

    answer: Any
    repeated: bool
