"""Signatures of webhooks, as Standard Webhooks describes them (standardwebhooks.com, v1).

A receiver checks the signature with a library of theirs, or as follows: HMAC-SHA-256, by the bytes
behind `whsec_` (base64), of `<webhook-id>.<webhook-timestamp>.<body>`, in base64 behind `v1,`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final

_BEFORE: Final = "whsec_"


def secret_text(secret: bytes) -> str:
    """Return a secret as receivers are given it."""
    return _BEFORE + base64.b64encode(secret).decode()


def signature(secret: bytes, message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the value of the header `webhook-signature`."""
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp_s, body)
    found = hmac.new(secret, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(found).decode()}"
