"""Session tokens: a client shows one to resume its session. They are self-contained and signed.

A token names the session, the user and the name. So a resume asks no store, and works after the
process that issued the token has died. A token is the base64url of an HMAC-SHA256 (32 bytes, RFC
2104) followed by what it signs: a byte with the version of the claims, and the claims in msgpack.
Whoever has a token is its user, so tokens belong on TLS connections only.

The version changes when the meaning of a claim changes. A new claim at the end needs no new
version, because a server that does not know it ignores it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence

import msgspec

from actors.edge.access import Grant
from protocol.errors import BAD_TOKEN, RequestError

MAC_BYTES = 32
MIN_SECRET_BYTES = 16
VERSION = 2
_FIRST_VERSION = 0x94
"""The first byte of claims of the first version, which have no byte for the version: it begins a
msgpack array of four."""


class Claims(msgspec.Struct, frozen=True, array_like=True):
    """The claims of a token.

    Attributes:
        issued: seconds since 1970, UTC.
        sign_in: the sign-in of an account that the session belongs to; empty: it is a guest's.
        roles: the roles of the account.
        expires: when the access of the account runs out, in seconds since 1970; 0: never.
    """

    session: str
    user: str
    name: str
    issued: float
    sign_in: str = ""
    roles: tuple[str, ...] = ()
    expires: float = 0.0


class Tokens:
    """Issues tokens and checks them.

    Arguments:
        secrets: the first signs; all of them are accepted, so that one can be replaced without
            sending everyone away. At least 16 bytes each.
        valid_s: how long a token is accepted after it was issued, in seconds.
        clock: seconds since 1970, UTC.
    """

    def __init__(
        self, secrets: Sequence[bytes], *, valid_s: float, clock: Callable[[], float]
    ) -> None:
        if not secrets or min(map(len, secrets)) < MIN_SECRET_BYTES:
            raise ValueError(f"a token secret has at least {MIN_SECRET_BYTES} bytes")
        self._secrets = tuple(secrets)
        self._valid_s = valid_s
        self._clock = clock
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Claims)

    def issue(self, session: str, user: str, name: str, grant: Grant | None = None) -> str:
        """Return a token for this session, valid from now. `grant`: the access of its account."""
        of_account = () if grant is None else (grant.sign_in, grant.roles, grant.expires)
        claims = self._encoder.encode(Claims(session, user, name, self._clock(), *of_account))
        body = bytes((VERSION,)) + claims
        return base64.urlsafe_b64encode(mac_of(self._secrets[0], body) + body).decode("ascii")

    def verify(self, token: str) -> Claims:
        """Return the claims of a token.

        Raises:
            RequestError: BAD_TOKEN; the token is forged, changed, too old, or of a version that is
                not understood (any more). The text does not tell forged from changed.
        """
        try:
            raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error):
            raise RequestError(BAD_TOKEN) from None
        mac, body = raw[:MAC_BYTES], raw[MAC_BYTES:]
        if not any(hmac.compare_digest(mac, mac_of(secret, body)) for secret in self._secrets):
            raise RequestError(BAD_TOKEN)
        claims = self._read(body)
        if self._clock() - claims.issued > self._valid_s:
            raise RequestError(BAD_TOKEN, "the token has expired; open a session")
        return claims

    def _read(self, body: bytes) -> Claims:
        """Decode signed claims. The server that signed them may be older or newer than this one."""
        version = body[0] if body else 0
        if version not in {VERSION, _FIRST_VERSION}:
            raise RequestError(BAD_TOKEN, "this server does not understand it; open a session")
        try:
            return self._decoder.decode(body[1:] if version == VERSION else body)
        except msgspec.MsgspecError:
            raise RequestError(
                BAD_TOKEN, "this server does not understand it; open a session"
            ) from None


def mac_of(secret: bytes, body: bytes) -> bytes:
    """Return the HMAC that signs the body of a token, `MAC_BYTES` long."""
    return hmac.digest(secret, body, hashlib.sha256)
