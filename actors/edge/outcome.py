"""`RequestOutcome`: what became of a request, for whoever keeps account of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from actors.edge.identity import Identity


class RequestOutcome(msgspec.Struct, frozen=True, gc=False):
    """What became of a request.

    Attributes:
        who: who asked; None: it is not known.
        what: the op, or the method and path of a route.
        role: the role that it needs.
        peer: the address of the client.
        on_whom: the user or the thing that it is about; empty: none, or it was not looked at.
        code: the code of the error; empty: it was answered.
    """

    who: Identity | None
    what: str
    role: str | None
    peer: str
    on_whom: str
    code: str


OnOutcome = Callable[[RequestOutcome], None]


def nobody_told(_: RequestOutcome) -> None:
    """For a server in which nobody keeps account."""


def all_of(watches: Iterable[OnOutcome]) -> OnOutcome:
    """Return what tells each of these."""
    found = tuple(watches)
    if not found:
        return nobody_told

    def tell(outcome: RequestOutcome) -> None:
        for watch in found:
            watch(outcome)

    return tell


def subject_of(asked: Any) -> str:
    """Return whom or what a request is about, by the fields in which requests say so."""
    for name in ("user", "users", "id", "key"):
        value = getattr(asked, name, None)
        if isinstance(value, str):
            return value
        if isinstance(value, list | tuple):
            return ",".join(map(str, value[:16]))
    return ""
