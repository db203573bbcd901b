"""`KeyDesk`: makes, lists and revokes API keys, for staff and for the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from actors.edge.api.api_route import ApiCall, ApiRoute
from actors.edge.failures import Refused
from actors.facts import Facts
from actors.keys.gatekeeper import Gatekeeper
from actors.keys.key_text import new_key
from actors.keys.rows import ApiKey, CreateKey, ListKeys, RevokeKey
from protocol.errors import FORBIDDEN, NOT_FOUND
from protocol.roles import OPERATOR, STAFF, with_included

Scope = Annotated[str, Meta(pattern=r"^(\*|[a-z]+\.\*|[a-z]+(\.[a-z_]+)?)\Z")]
"""An op or a route, all of an area ("storage.*"), or everything ("*")."""
KeyRate = Annotated[float, Meta(gt=0, le=1_000_000)]
StaffRole = Annotated[str, Meta(pattern=f"^({'|'.join(STAFF)})\\Z")]


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """The API key that is asked for."""

    name: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=64)]
    roles: Annotated[list[StaffRole], Meta(max_length=5)] = []
    requests_per_s: KeyRate = 1000.0
    burst: KeyRate = 2000.0


class KeyMade(msgspec.Struct, frozen=True):
    """A new API key. Its text is shown here and never again."""

    key: str
    made: ApiKey


class KeyList(msgspec.Struct, frozen=True):
    """All API keys, revoked ones included, the newest first."""

    keys: list[ApiKey]


class KeyDesk:
    """Makes, lists and revokes API keys.

    Arguments:
        facts: keeps them.
        gatekeeper: is told of a key that is revoked here.
    """

    def __init__(self, facts: Facts, gatekeeper: Gatekeeper) -> None:
        self._facts = facts
        self._gatekeeper = gatekeeper

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

    async def make(self, new: NewKey, by: str) -> KeyMade:
        """Make a key. `by`: the user who asks; empty: the command line."""
        text, parts = new_key()
        command = CreateKey(
            parts.id, parts.hash, new.name, new.roles, new.scopes, new.requests_per_s, new.burst, by
        )
        made: ApiKey = await self._facts.execute(command, user=by)
        return KeyMade(text, made)

    async def revoke(self, key: str, by: str) -> ApiKey:
        """Revoke a key. Raises Refused: NOT_FOUND."""
        revoked: ApiKey = await self._facts.execute(RevokeKey(key), user=by)
        self._gatekeeper.forget(key)
        return revoked

    async def all(self) -> list[ApiKey]:
        """Return all keys."""
        found: list[ApiKey] = await self._facts.ask(ListKeys())
        return found

    # --- routes ----------------------------------------------------------------------------------

    async def _list(self, _: ApiCall) -> KeyList:
        return KeyList(await self.all())

    async def _make(self, call: ApiCall) -> KeyMade:
        assert call.who is not None
        if not with_included(call.body.roles) <= call.who.roles:
            raise Refused(FORBIDDEN, "a key may have no role that its maker has not")
        return await self.make(call.body, call.who.user)

    async def _revoke(self, call: ApiCall) -> None:
        assert call.who is not None
        await self.revoke(call.path["id"], call.who.user)

    # --- the command line ------------------------------------------------------------------------

    async def create_line(
        self, *, name: str, scopes: Sequence[str], roles: Sequence[str], rate: float
    ) -> Iterator[str]:
        """Make a key; returns the line with its text. Raises ValueError: it cannot be one."""
        given = {"name": name, "scopes": scopes, "roles": roles, "requests_per_s": rate}
        new = msgspec.convert({**given, "burst": 2 * rate}, NewKey)
        return iter([(await self.make(new, "")).key])

    async def list_lines(self) -> Iterator[str]:
        """Return a line for each key."""
        return (_line(key) for key in await self.all())

    async def revoke_line(self, *, key: str) -> Iterator[str]:
        """Revoke a key by its id. Raises ValueError: there is none."""
        try:
            revoked = await self.revoke(key, "")
        except Refused:
            raise ValueError(f"no key has the id {key}") from None
        return iter([f"revoked: {revoked.id} {revoked.name}"])


_NEVER: Final = "never"


def _line(key: ApiKey) -> str:
    state = "valid" if key.revoked is None else f"revoked {_day(key.revoked)}"
    return (
        f"{key.id}  {key.name}  {','.join(key.scopes)}  {','.join(key.roles) or '-'}"
        f"  made {_day(key.created)}  used {_day(key.used)}  {state}"
    )


def _day(at_ms: int | None) -> str:
    return _NEVER if at_ms is None else f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d}"
