"""The old directory of matches, which was one actor with a log.

The log has an event for each match that was opened or closed. The first server without that actor
reads it once, and leaves it as it is.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

import msgspec

from actors.matches.commands import OldKey, OldMatch, TakeOver
from actors.matches.entry import MatchStart
from actors.runtime.stores import EventRow, EventStore

OLD_DIRECTORY: Final = ("directory", "matches")
"""(kind, key) of its log."""
REFUSED: Final = "refused"
"""The reason of a match that was announced and then not accepted by its game."""
PAGE: Final = 1_000


class Opened(msgspec.Struct, frozen=True, gc=False, tag="match.opened", omit_defaults=True):
    """A match was made; `at` in milliseconds since 1970, UTC.

    `params` and `seed` are in logs of versions that announced a match before they made it; such a
    match may still have to be made. None: the match exists.
    """

    match: str
    game: str
    at: int
    user: str
    key: str | None = None
    params: dict[str, Any] | None = None
    seed: int | None = None


class Closed(msgspec.Struct, frozen=True, gc=False, tag="match.closed"):
    """A match is over."""

    match: str
    reason: str
    at: int


class Kept(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The key of a match that has ended; `at`: when it ended."""

    user: str
    key: str
    match: str
    at: int


class Stock(msgspec.Struct, frozen=True, gc=False, tag="match.stock"):
    """Everything that is known at this point of the log. The events before it are not needed."""

    running: list[Opened]
    kept: list[Kept]


_decode: Final = msgspec.msgpack.Decoder(Opened | Closed | Stock).decode


async def take_over_from(events: EventStore) -> TakeOver:
    """Read the log; return the command that enters what the old directory knew.

    Raises what the store raises, and msgspec.DecodeError if the log cannot be read.
    """
    old = OldDirectory()
    for *_, payload, _at_us in await _since_last_stock(events):
        old.apply(_decode(payload))
    return old.take_over()


async def _since_last_stock(events: EventStore) -> list[EventRow]:
    """Return the last `Stock` and the events after it, read page by page from the end."""
    found: list[EventRow] = []
    before = 0
    while True:
        page = await events.read_before(*OLD_DIRECTORY, before=before, limit=PAGE)
        for place in range(len(page) - 1, -1, -1):
            if page[place][4] == "match.stock":
                return [*page[place:], *found]
        found = [*page, *found]
        if not page or page[0][2] <= 1:
            return found
        before = page[0][2]


class OldDirectory:
    """The running matches, and the keys of those that have ended, by the events of the log."""

    def __init__(self) -> None:
        self._running: dict[str, Opened] = {}  # oldest first
        self._kept: OrderedDict[tuple[str, str], Kept] = OrderedDict()  # by user and key

    def apply(self, event: Opened | Closed | Stock) -> None:
        """Take an event, in the order of the log."""
        match event:
            case Opened():
                self._running[event.match] = event
            case Closed() if event.match in self._running:
                opened = self._running.pop(event.match)
                if opened.key is not None and event.reason != REFUSED:
                    self._keep(Kept(opened.user, opened.key, opened.match, event.at))
            case Stock():
                self._running = {opened.match: opened for opened in event.running}
                self._kept.clear()
                for kept in event.kept:
                    self._keep(kept)

    def _keep(self, kept: Kept) -> None:
        self._kept[kept.user, kept.key] = kept

    def take_over(self) -> TakeOver:
        """Return the command that enters all of them."""
        return TakeOver(
            [
                OldMatch(one.match, one.game, one.at, one.user, one.key, _start(one))
                for one in self._running.values()
            ],
            [OldKey(one.user, one.key, one.match, one.at) for one in self._kept.values()],
        )


def _start(opened: Opened) -> bytes | None:
    if opened.params is None or opened.seed is None:
        return None
    return MatchStart(opened.seed, opened.params).packed()
