"""`KeyTools`: makes, lists and revokes API keys, for the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from actors.edge.failures import Refused
from actors.keys.desk import NewKey, make_key
from actors.keys.key_text import ITSELF, PREFIX
from actors.keys.rows import ApiKey, ListKeys, RevokeKey
from actors.service import ToolKit, Tools

_NEVER: Final = "never"
_MOST_PER_S: Final = 1_000_000


def key_tools(kit: ToolKit) -> Tools:
    """Return the tools, by name."""
    tools = KeyTools(kit)
    return {"create": tools.create, "list": tools.list, "revoke": tools.revoke}


class KeyTools:
    """The tools. Each returns lines to print, and raises ValueError or Refused."""

    def __init__(self, kit: ToolKit) -> None:
        self._kit = kit

    async def create(
        self, *, name: str, scopes: Sequence[str], roles: Sequence[str], rate: float
    ) -> Iterator[str]:
        """Make a key; returns the line with its text."""
        if not 0 < rate <= _MOST_PER_S:
            raise ValueError(f"--rate: above 0, and {_MOST_PER_S:,} at most")
        given = {"name": name, "scopes": scopes, "roles": roles, "requests_per_s": rate}
        try:
            new = msgspec.convert({**given, "burst": min(2 * rate, _MOST_PER_S)}, NewKey)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None
        return iter([(await make_key(self._kit.facts, new, self._kit.scopes)).key])

    async def list(self) -> Iterator[str]:
        """Return a line for each key."""
        return map(_line, await self._kit.facts.ask(ListKeys()))

    async def revoke(self, *, key: str) -> Iterator[str]:
        """Revoke a key by its id, or by its whole text."""
        id_ = key.removeprefix(PREFIX).partition("_")[0].removeprefix(ITSELF)
        try:
            revoked: ApiKey = await self._kit.facts.execute(RevokeKey(id_), user="")
        except Refused:
            shown = id_[:16] + ("..." if len(id_) > 16 else "")
            raise ValueError(f"no key has the id {shown}; key list shows all") from None
        return iter([f"revoked: {revoked.id} {revoked.name}"])


def _line(key: ApiKey) -> str:
    state = "valid" if key.revoked is None else f"revoked {_day(key.revoked)}"
    return (
        f"{key.id}  {key.name}  {','.join(key.scopes)}  {','.join(key.roles) or '-'}"
        f"  made {_day(key.created)}  used {_day(key.used)}  {state}"
    )


def _day(at_ms: int | None) -> str:
    return _NEVER if at_ms is None else f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d}"
