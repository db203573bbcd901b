"""The text of an API key: `gk_<id>_<secret>`.

Scanners for leaked secrets find it by the prefix. The id is no secret, and names the key in lists
and logs. The server keeps only the SHA-256 of the secret. It has 256 random bits, which nobody can
guess by trial, so a slow hash is not needed.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final, NamedTuple

PREFIX: Final = "gk_"
ITSELF: Final = "key-"
"""How the user begins as which a key calls for itself; no player's id begins so."""
_KEY: Final = re.compile(r"gk_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


class KeyText(NamedTuple):
    """The parts of a key."""

    id: str
    hash: bytes
    """The SHA-256 of its secret."""


def new_key() -> tuple[str, KeyText]:
    """Return the text of a new key, and its parts."""
    text = f"{PREFIX}{secrets.token_hex(8)}_{secrets.token_urlsafe(32)}"
    found = parsed(text)
    assert found is not None
    return text, found


def parsed(text: str) -> KeyText | None:
    """Return the parts of a key; None: the text is no key."""
    found = _KEY.fullmatch(text)
    if found is None:
        return None
    return KeyText(found[1], hashlib.sha256(found[2].encode()).digest())
