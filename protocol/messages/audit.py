"""The audit log: staff lists who did what to whom, and what became of it."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from protocol.errors import BAD_CURSOR, OUT_OF_RANGE
from protocol.messages.envelope import Request
from protocol.messages.op import Area, Op
from protocol.roles import VIEWER

_Name = Annotated[str, Meta(max_length=256)]
Milliseconds = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]
"""A time, in milliseconds since 1970, UTC; at most the end of the year 9999."""


class AuditList(Request, frozen=True, kw_only=True, tag="audit.list", gc=False):
    """List entries of the audit log, the newest first. Answered with `AuditListed`.

    A filter that is null, or not there, lets every entry pass. `who` is a user, or a key as
    "key-<id>"; `what` is a name, or the beginning of one with a `*` behind it; `refused`: only what
    was refused, or only what was done; `since` and `until` are times of entries.
    """

    who: _Name | None = None
    on_whom: _Name | None = None
    what: _Name | None = None
    refused: bool | None = None
    since: Milliseconds | None = None
    until: Milliseconds | None = None
    limit: Annotated[int, Meta(ge=1)] = 50
    cursor: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


class AuditListEntry(msgspec.Struct, frozen=True, gc=False):
    """An entry. `at` is in milliseconds since 1970, UTC."""

    at: int
    who: str
    as_whom: str
    address: str
    what: str
    on_whom: str
    outcome: str
    details: dict[str, Any]


class AuditListed(msgspec.Struct, frozen=True, gc=False):
    """A page of the audit log. `cursor` is for the next page; null: this is the last one."""

    entries: list[AuditListEntry]
    cursor: str | None = None


AREA: Final = Area(
    ops=(
        Op(
            request=AuditList,
            role=VIEWER,
            answer=AuditListed,
            errors=(OUT_OF_RANGE, BAD_CURSOR),
            repeat="harmless",
            sheddable=True,
            cost=5,
        ),
    )
)
