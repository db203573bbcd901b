"""Access tokens: signed, short-lived, and the same for all nodes. Version 3 of a token.

A token is the prefix `gra_` and a base64url text. The prefix tells it from the tokens of sessions,
and lets scanners find tokens that were published by mistake. The text holds an HMAC-SHA256 (32
bytes, RFC 2104) and what it signs: a byte with the version, and the claims in msgpack. The claims
begin with the id of the key that signed them, so keys can be replaced while tokens of older keys
are valid.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from actors.edge.access import Grant
from actors.edge.tokens import MAC_BYTES, mac_of
from protocol.errors import BAD_TOKEN, TOKEN_EXPIRED, UNAVAILABLE, RequestError

PREFIX: Final = "gra_"
VERSION: Final = 3
AHEAD_S: Final = 60.0
"""How far the clock of the node that issued a token may be ahead."""


class AccessKeys(msgspec.Struct, frozen=True):
    """The keys of a server.

    Attributes:
        signing: the id of the key that signs new tokens.
        keys: id -> the key; tokens of all of them are accepted.
    """

    signing: str
    keys: Mapping[str, bytes]


class _Claims(msgspec.Struct, frozen=True, array_like=True):
    key: str
    user: str
    name: str
    roles: tuple[str, ...]
    sign_in: str
    issued: float
    expires: float


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Claims).decode


class AccessTokens:
    """Issues access tokens and reads them.

    Arguments:
        keys: returns the keys of this moment; None: they are not known yet.
        valid_s: how long a token is valid, in seconds.
        clock: seconds since 1970, UTC.
    """

    def __init__(
        self, keys: Callable[[], AccessKeys | None], *, valid_s: float, clock: Callable[[], float]
    ) -> None:
        self._keys = keys
        self.valid_s = valid_s
        self._clock = clock

    @property
    def ready(self) -> bool:
        """Whether there are keys, so that a token can be issued."""
        return self._keys() is not None

    def issue(self, user: str, name: str, roles: tuple[str, ...], sign_in: str) -> str:
        """Return a token that is valid from now. Raises LookupError: there are no keys yet."""
        keys = self._keys()
        if keys is None:
            raise LookupError("no keys yet")
        now = self._clock()
        claims = _Claims(keys.signing, user, name, roles, sign_in, now, now + self.valid_s)
        body = bytes((VERSION,)) + _encode(claims)
        text = base64.urlsafe_b64encode(mac_of(keys.keys[keys.signing], body) + body)
        return PREFIX + text.decode("ascii").rstrip("=")

    def read(self, token: str) -> Grant:
        """Return what a token gives.

        Raises:
            RequestError: BAD_TOKEN; the token is forged, changed, of another server, of the future,
                or of a version that is not understood. TOKEN_EXPIRED: it has run out. UNAVAILABLE:
                the keys have not been read yet, as the server has just started.
        """
        raw = _raw(token)
        mac, body = raw[:MAC_BYTES], raw[MAC_BYTES:]
        if not body or body[0] != VERSION:
            raise RequestError(BAD_TOKEN)
        try:
            claims = _decode(body[1:])
        except (msgspec.MsgspecError, ValueError):  # text that is no UTF-8 is the latter
            raise RequestError(BAD_TOKEN) from None
        keys = self._keys()
        if keys is None:
            raise RequestError(UNAVAILABLE, "the keys of tokens are not read yet")
        key = keys.keys.get(claims.key)
        if key is None or not hmac.compare_digest(mac, mac_of(key, body)):
            raise RequestError(BAD_TOKEN)
        now = self._clock()
        if claims.issued > now + AHEAD_S:
            raise RequestError(BAD_TOKEN, "the token is not valid yet")
        if now >= claims.expires:
            raise RequestError(TOKEN_EXPIRED)
        return Grant(claims.user, claims.name, claims.roles, claims.sign_in, claims.expires)


def is_access_token(text: str) -> bool:
    """Return whether a text is meant to be an access token."""
    return text.startswith(PREFIX)


def _raw(token: str) -> bytes:
    """Return the bytes of a token. Only the text that was issued is accepted, not a variant."""
    text = token.removeprefix(PREFIX)
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise RequestError(BAD_TOKEN) from None
    if base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=") != text:
        raise RequestError(BAD_TOKEN)
    return raw
