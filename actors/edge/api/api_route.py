"""`ApiRoute`: an address at which a service answers over HTTP, beside its ops: such as a sign-in.

The body and the query are checked against the route's types before its handler is called. The
description in OpenAPI is made from the same types.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from actors.edge.identity import Identity
from protocol.errors import ErrorCode


@dataclass(frozen=True, kw_only=True)
class ApiCall:
    """A request for a route.

    Attributes:
        who: who asks; None: the request does not say so, which only a route for anyone allows.
        body: the body, of the route's type; None: the route takes none.
        query: the parameters behind the "?", of the route's type; None: the route takes none.
        path: the parameters of the path.
        headers: the headers, by their names in small letters.
        address: the network address of the client, if it has limits of its own; else None.
        peer: the address that the client is known by, for a log.
    """

    who: Identity | None
    body: Any
    query: Any
    path: Mapping[str, str]
    headers: Mapping[str, str]
    address: str | None
    peer: str


@dataclass(frozen=True, kw_only=True)
class ApiRoute:
    """One address of the HTTP API.

    Attributes:
        method, path: such as "POST" and "/v1/sign-in/guest"; `{name}` in the path is a parameter.
        handle: answers. What it returns is of the type `answer`, or is an `HttpResponse` of
            protocol.http.exchange. It raises RequestError to refuse.
        role: the role of `protocol.roles` that a caller must have; None: every caller is refused.
        scope: what an API key must have among its scopes, such as "account.sign_in", unless the
            route is for anyone; empty: only a key for everything may call it.
        elsewhere: its answer waits for somebody outside of this server. So it tells nothing of how
            busy the node is, and is not counted by it; the handler bounds how many wait.
        summary: what it does, in a sentence.
        body, query: the types of the body and of the parameters behind the "?".
        answer: the type of the answer's body; None: it has none.
        errors: the errors of this route.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    handle: Callable[[ApiCall], Awaitable[Any]]
    role: str | None = None
    scope: str = ""
    elsewhere: bool = False
    summary: str = ""
    body: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = None
    answer: type[msgspec.Struct] | None = None
    errors: tuple[ErrorCode, ...] = field(default=())
