"""Devices that an account was used on before, by the token that each of them keeps.

A known device has a budget of its own for attempts to sign in. So nobody who tries to guess a
password keeps its owner out.
"""

from __future__ import annotations

import secrets
from typing import Final, Protocol

from persistence.commands import Transaction

DEVICE_PREFIX: Final = "grd_"


class MaybeKnown(Protocol):
    """What was read for a device, and whether the device is known to it."""

    @property
    def known(self) -> bool: ...


def new_device() -> str:
    """Return a new token for a device."""
    return DEVICE_PREFIX + secrets.token_urlsafe(24)


def known_token(token: str, found: MaybeKnown | None) -> str:
    """Return the token of a device that is known, or else an empty text."""
    return token if found is not None and found.known else ""


def know_device(tx: Transaction, user: str, device: bytes, most: int) -> None:
    """Note that a device was used, by the hash of its token.

    The `most` that were used last stay known.
    """
    tx.write(
        "INSERT INTO account_devices VALUES (%s, %s, now())"
        " ON CONFLICT (hash) DO UPDATE SET used_at = now()",
        (device, user),
    )
    tx.write(
        "DELETE FROM account_devices WHERE hash IN (SELECT hash FROM account_devices"
        " WHERE user_id = %s ORDER BY used_at DESC OFFSET %s)",
        (user, most),
    )
