"""`AuditDesk`: answers requests for entries of the audit log."""

from __future__ import annotations

import re
from typing import Any, Final

from actors.audit.rows import AuditPlace, EntriesPage, EraseAddresses, ExportEntries, ListEntries
from actors.audit.settings import AuditSettings
from actors.edge.failures import Refused
from actors.edge.identity import Identity
from actors.facts import Facts
from actors.runtime.future import Future
from protocol.errors import BAD_CURSOR, OUT_OF_RANGE
from protocol.messages.audit import AuditList, AuditListed

_CURSOR: Final = re.compile(r"([0-9]{1,17})-([0-9]{1,18})")


class AuditDesk:
    """Lists entries, exports those of a user, and deletes what tells of a person."""

    def __init__(self, settings: AuditSettings, facts: Facts) -> None:
        self._settings = settings
        self._facts = facts

    def page(self, _: Identity, request: AuditList) -> Future[AuditListed]:
        """List a page. Raises Refused: the limit is too high, or the cursor is none."""
        most = self._settings.list_limit
        if request.limit > most:
            raise Refused(OUT_OF_RANGE, f"limit: at most {most}")
        query = ListEntries(
            who=_storable(request.who),
            on_whom=_storable(request.on_whom),
            what=_storable(request.what),
            refused=request.refused,
            since=request.since,
            until=request.until,
            before=None if request.cursor is None else _bookmark(request.cursor),
            limit=request.limit,
        )
        return self._facts.ask(query).map(_listed)

    async def export(self, user: str) -> Any:
        """Return the entries of a user, as plain values."""
        return await self._facts.ask(ExportEntries(user))

    async def erase(self, user: str) -> None:
        """Delete the addresses that a user came from. The entries stay, with the id alone."""
        await self._facts.execute(EraseAddresses(user), user=user)


def _listed(page: EntriesPage) -> AuditListed:
    more = page.more
    return AuditListed(page.entries, None if more is None else f"{more.at_us}-{more.id}")


def _bookmark(cursor: str) -> AuditPlace:
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise Refused(BAD_CURSOR)
    return AuditPlace(int(found[1]), int(found[2]))


def _storable(text: str | None) -> str | None:
    """Return what PostgreSQL can compare. No entry has a NUL, so none is found by one."""
    return None if text is None else text.replace("\0", "\ufffd")
