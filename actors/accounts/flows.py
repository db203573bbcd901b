"""Sign-ins that have begun here and end with what a provider says: their states.

Nothing is stored when a sign-in begins, so nobody can fill the store with begins. The state is
signed, and everything else of a flow is made of its id by the same key:

- the `state`, which comes back by way of the provider and the player's browser;
- the `secret`, which the client alone has, so that nobody ends a sign-in that another began;
- the `nonce`, which the ID token must have;
- the `verifier` of PKCE (RFC 7636), which the server alone has, for the code.

A flow that has ended is stored until it would have run out, in the transaction of its sign-in.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Callable
from typing import Final

import msgspec

from actors.edge.access_tokens import AccessKeys
from actors.edge.failures import Refused
from actors.edge.tokens import MAC_BYTES, mac_of
from protocol.errors import BAD_STATE, UNAVAILABLE

_ID_BYTES: Final = 16


class _State(msgspec.Struct, frozen=True, array_like=True):
    key: str
    id: bytes
    provider: str
    redirect: str
    until: float


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_State).decode


class Flow(msgspec.Struct, frozen=True):
    """A sign-in that has begun; see the module. `until`: seconds since 1970."""

    id: bytes
    provider: str
    redirect: str
    until: float
    state: str
    secret: str
    nonce: str
    verifier: str


class Flows:
    """Begins flows, and knows them again.

    Arguments:
        keys: the keys of access tokens; None: they are not known yet.
        valid_s: how long a sign-in may take, in seconds.
        clock: seconds since 1970, UTC.
    """

    def __init__(
        self, keys: Callable[[], AccessKeys | None], valid_s: float, clock: Callable[[], float]
    ) -> None:
        self._keys = keys
        self.valid_s = valid_s
        self._clock = clock

    def begin(self, provider: str, redirect: str) -> Flow:
        """Begin a sign-in. Raises Refused: UNAVAILABLE."""
        keys = self._keys()
        if keys is None:
            raise Refused(UNAVAILABLE, "the keys are not read yet")
        until = self._clock() + self.valid_s
        state = _State(keys.signing, secrets.token_bytes(_ID_BYTES), provider, redirect, until)
        return _flow(keys.keys[keys.signing], state)

    def find(self, provider: str, state: str, secret: str) -> Flow:
        """Return the flow of a state.

        Raises:
            Refused: BAD_STATE; it was changed, has run out, is of another provider, or the secret
                is another one's.
        """
        try:
            raw = base64.b64decode(state + "=" * (-len(state) % 4), altchars=b"-_", validate=True)
            found = _decode(raw[MAC_BYTES:])
        except (ValueError, binascii.Error, msgspec.MsgspecError):
            raise Refused(BAD_STATE) from None
        keys = self._keys()
        key = None if keys is None else keys.keys.get(found.key)
        if key is None:
            raise Refused(BAD_STATE)
        flow = _flow(key, found)
        if not (
            hmac.compare_digest(flow.state.encode(), state.encode())
            and hmac.compare_digest(flow.secret.encode(), secret.encode())
            and found.provider == provider
        ):
            raise Refused(BAD_STATE)
        if self._clock() >= found.until:
            raise Refused(BAD_STATE, "it has run out")
        return flow


def _flow(key: bytes, state: _State) -> Flow:
    body = _encode(state)
    return Flow(
        id=state.id,
        provider=state.provider,
        redirect=state.redirect,
        until=state.until,
        state=_text(mac_of(key, b"state:" + body) + body),
        secret=_text(mac_of(key, b"secret:" + body)),
        nonce=_text(mac_of(key, b"nonce:" + body)),
        verifier=_text(mac_of(key, b"verifier:" + body)),
    )


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")
