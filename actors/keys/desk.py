"""`KeyDesk`: makes, lists and revokes API keys, for staff over HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from actors.edge.api.api_route import ApiCall, ApiRoute
from actors.edge.failures import Refused
from actors.facts import Facts
from actors.keys.gatekeeper import Gatekeeper
from actors.keys.key_text import new_key
from actors.keys.rows import ApiKey, CreateKey, ListKeys, RevokeKey
from actors.keys.scopes import check_roles, check_scopes
from protocol.errors import BAD_MESSAGE, FORBIDDEN, NOT_FOUND
from protocol.roles import OPERATOR, with_included

_Word = Annotated[str, Meta(min_length=1, max_length=128)]
KeyRate = Annotated[float, Meta(gt=0, le=1_000_000)]


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A request for a new API key."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    scopes: Annotated[list[_Word], Meta(min_length=1, max_length=64)]
    roles: Annotated[list[_Word], Meta(max_length=5)] = []
    requests_per_s: KeyRate = 1000.0
    burst: KeyRate = 2000.0


class KeyMade(msgspec.Struct, frozen=True):
    """A new API key. Its text is shown here and never again."""

    key: str
    made: ApiKey


class KeyList(msgspec.Struct, frozen=True):
    """All API keys, revoked ones included, the newest first."""

    keys: list[ApiKey]


async def make_key(
    facts: Facts, new: NewKey, names: Iterable[str], *, by: str = "", address: str = ""
) -> KeyMade:
    """Make a key.

    Arguments:
        facts: keeps it.
        new: what it may do.
        names: those of the server's ops and routes, which scopes must fit.
        by: the user who asks; empty: the command line.
        address: where they ask from.

    Raises:
        Refused: BAD_MESSAGE.
    """
    if not new.name.isprintable() or not new.name.strip():
        raise Refused(BAD_MESSAGE, "the name has a character that cannot be printed")
    check_scopes(new.scopes, names)
    check_roles(new.roles)
    text, parts = new_key()
    command = CreateKey(
        parts.id, parts.hash, new.name, new.roles, new.scopes, new.requests_per_s, new.burst, by,
        address,
    )  # fmt: skip
    made: ApiKey = await facts.execute(command, user=by)
    return KeyMade(text, made)


class KeyDesk:
    """Answers the routes of keys.

    Arguments:
        facts: runs the commands and queries of keys.
        gatekeeper: told of each key that is revoked on this node, so that it refuses it at once.
        names: those of the server's ops and routes.
    """

    def __init__(self, facts: Facts, gatekeeper: Gatekeeper, names: Iterable[str]) -> None:
        self._facts = facts
        self._gatekeeper = gatekeeper
        self._names = frozenset(names)

    def routes(self) -> Sequence[ApiRoute]:
        """Return its routes of the HTTP API."""
        return (
            ApiRoute(
                method="GET",
                path="/v1/keys",
                role=OPERATOR,
                scope="keys.list",
                summary="List all API keys.",
                handle=self._list,
                answer=KeyList,
            ),
            ApiRoute(
                method="POST",
                path="/v1/keys",
                role=OPERATOR,
                scope="keys.create",
                summary="Make an API key. Its text is in the answer, and never shown again.",
                handle=self._make,
                body=NewKey,
                answer=KeyMade,
                errors=(FORBIDDEN,),
            ),
            ApiRoute(
                method="DELETE",
                path="/v1/keys/{id}",
                role=OPERATOR,
                scope="keys.revoke",
                summary="Revoke an API key. Every node refuses it within a second.",
                handle=self._revoke,
                errors=(NOT_FOUND,),
            ),
        )

    async def _list(self, _: ApiCall) -> KeyList:
        return KeyList(await self._facts.ask(ListKeys()))

    async def _make(self, call: ApiCall) -> KeyMade:
        assert call.who is not None
        check_roles(call.body.roles)
        if not with_included(call.body.roles) <= call.who.roles:
            raise Refused(FORBIDDEN, "a key may have no role that its maker has not")
        by, address = call.who.user, call.peer
        return await make_key(self._facts, call.body, self._names, by=by, address=address)

    async def _revoke(self, call: ApiCall) -> None:
        assert call.who is not None
        key = call.path["id"]
        await self._facts.execute(RevokeKey(key, call.who.user, call.peer), user=call.who.user)
        self._gatekeeper.forget(key)
