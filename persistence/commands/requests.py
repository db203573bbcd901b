"""What the threads that run commands can be asked, and what they reply."""

from __future__ import annotations

from typing import Any

import msgspec

from persistence.requests import StoreRequest


class Execute(StoreRequest, frozen=True, gc=False):
    """Run a command. Reply: `Done`, or what the command's function refuses or fails with.

    `user`: whose command it is; with the service and `key` what a retry is known by.
    `key`: of at most one command of this user (or `KeyReused`); None: a retry is another command.
    `expires_at`, in seconds of time.monotonic: then nobody waits for it any more, and if it has not
    begun it does not act (`CommandExpired`).
    """

    command: Any
    user: str
    key: str | None
    expires_at: float


class Done(msgspec.Struct, frozen=True, gc=False):
    """A command that has committed: its answer, and whether it had been given before."""

    answer: Any
    repeated: bool
