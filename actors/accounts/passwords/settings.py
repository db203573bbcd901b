"""Settings of passwords. Times are in seconds."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from actors.quantities import Count, PositiveSeconds


class PasswordSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How passwords are hashed and checked. The parameters of argon2id are those of OWASP."""

    argon2_memory_kib: Annotated[int, Meta(ge=8, le=4_194_304)] = 19_456
    """Memory for one hash, in KiB."""
    argon2_passes: Annotated[int, Meta(ge=1, le=1000)] = 2
    """Passes over that memory."""
    argon2_lanes: Annotated[int, Meta(ge=1, le=64)] = 1
    """Lanes, each with a thread of its own."""
    threads: Annotated[int, Meta(ge=1, le=64)] = 1
    """Passwords that a node hashes at once."""
    queue: Count = 64
    """Passwords that wait for a thread or are hashed. Beyond it sign-ins are refused as busy."""
    min_guesses: Annotated[float, Meta(ge=0)] = 1e6
    """A new password that would be found with fewer guesses is refused, by zxcvbn's estimate."""
    code_valid_s: PositiveSeconds = 600.0
    """How long a code that is sent by mail is valid."""
    code_tries: Count = 5
    """How often a code may be tried."""
    letters: Count = 5
    """Letters with codes to one address, within the time that a code is valid."""
    devices: Count = 20
    """Devices of one account that have a budget of their own; the last used."""
