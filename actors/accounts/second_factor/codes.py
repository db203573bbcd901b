"""Codes of a second factor: TOTP (RFC 6238), and recovery codes. Pure, without a clock."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

import pyotp

from actors.accounts.mail.letters import new_code, plain_code

STEP_S: Final = 30
"""How long one code of an authenticator is shown. Those beside it are right too: clocks differ."""
AROUND: Final = 1
DIGITS: Final = 6
RECOVERY_CODES: Final = 10
RECOVERY_CHARACTERS: Final = 24
"""120 bits: so a plain hash is enough to keep (OWASP ASVS 5, 6.5.2)."""


def new_secret() -> str:
    """Return a new secret for an authenticator, in base32: 160 bits, as RFC 4226 recommends."""
    return pyotp.random_base32()


def uri_of(secret: str, account: str, product: str) -> str:
    """Return what an authenticator reads from the QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=product)


def step_of(secret: str, code: str, now_s: float, after: int) -> int | None:
    """Return the step of a code that is valid now; None: it is not.

    Arguments:
        secret: the secret.
        code: what is shown.
        now_s: seconds since 1970, UTC.
        after: the step of the last code that was used. It and earlier ones are not taken again.
    """
    present = int(now_s) // STEP_S
    totp, found = pyotp.TOTP(secret), None
    for step in range(present - AROUND, present + AROUND + 1):
        right = hmac.compare_digest(totp.generate_otp(step).encode(), code.encode())
        if right and step > after:
            found = step
    return found


def is_totp(code: str) -> bool:
    """Return whether a code in its plain form is one of an authenticator, not a recovery code."""
    return len(code) == DIGITS and code.isascii() and code.isdigit()


def new_recovery_codes() -> list[str]:
    """Return new recovery codes, in groups of four characters."""
    return [new_code(RECOVERY_CHARACTERS) for _ in range(RECOVERY_CODES)]


def recovery_hash(code: str) -> bytes:
    """Return what is kept of a recovery code."""
    return hashlib.sha256(plain_code(code).encode("utf-8", "surrogatepass")).digest()
