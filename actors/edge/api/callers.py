"""Who calls over HTTP. A service can bring an `Authenticate` for a kind of token of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from actors.edge.access import Access
from actors.edge.identity import Identity
from actors.edge.tokens import Tokens
from protocol.errors import BAD_TOKEN, FORBIDDEN, RequestError
from protocol.roles import PLAYER

USER_HEADER: Final = "greenroom-user"
"""By this header a back end with a key asks on behalf of a user."""


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What a request says of its caller.

    Attributes:
        token: the token or the API key, from `Authorization: Bearer`.
        user: the user on whose behalf the caller asks; None: it asks for itself.
        address: the caller's network address, if that has limits of its own; else None.
        peer: the address that the caller is known by, for a log.
    """

    token: str
    user: str | None
    address: str | None
    peer: str = ""


@dataclass(frozen=True, kw_only=True)
class ApiCaller:
    """Somebody whom the server knows.

    Attributes:
        who: its identity, with all roles that it may act in.
        scopes: the ops and routes that it may call, as "storage.read", "storage.*" or "*"; None:
            any.
        requests_per_s, burst: its rate; None: that of a session.
    """

    who: Identity
    scopes: tuple[str, ...] | None = None
    requests_per_s: float | None = None
    burst: float | None = None

    @property
    def budget(self) -> str:
        """The name under which its requests are counted: that of its key, or else of its user."""
        return f"key:{self.who.key}" if self.who.key else f"user:{self.who.user}"

    def covers(self, op: str) -> bool:
        """Return whether an op, or the scope of a route, is within its scopes."""
        if self.scopes is None:
            return True
        area = f"{op.partition('.')[0]}.*"
        return any(scope in ("*", op, area) for scope in self.scopes)


Authenticate = Callable[[Credentials], Awaitable[ApiCaller | None]]
"""Returns who calls; None: the token is of another kind, so the next `Authenticate` is asked.

Raises RequestError if the token is of its kind and not valid.
"""


def session_tokens(tokens: Tokens, access: Access | None = None) -> Authenticate:
    """Return the `Authenticate` of session tokens. It is asked last, since it refuses other texts.

    They are for guests only. Whoever has an account shows an access token, because that ends with
    its sign-in.
    """

    async def authenticate(given: Credentials) -> ApiCaller:
        claims = tokens.verify(given.token)
        if claims.sign_in:
            raise RequestError(BAD_TOKEN, "show the access token of the account")
        if access is not None:
            access.check(claims.user, "")
        if given.user is not None and given.user != claims.user:
            raise RequestError(FORBIDDEN, "only a back end with a key asks on behalf of others")
        who = Identity(
            "", claims.user, claims.name, roles=frozenset((PLAYER,)), address=given.address
        )
        return ApiCaller(who=who)

    return authenticate


def first_of(ways: tuple[Authenticate, ...]) -> Authenticate:
    """Return an `Authenticate` that asks these in turn, and refuses a token that none knows."""

    async def authenticate(given: Credentials) -> ApiCaller:
        for way in ways:
            caller = await way(given)
            if caller is not None:
                return caller
        raise RequestError(BAD_TOKEN)

    return authenticate
