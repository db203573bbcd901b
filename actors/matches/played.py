"""What the logs of matches hold of a user: to be exported, or made anonymous."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, Final

import msgspec

from actors.matches.match import Match
from actors.matches.messages import DIRECTORY
from actors.matches.rules.record import Joined
from actors.matches.rules.register import Opened
from actors.runtime.persistence import event_name
from actors.runtime.stores import EventRow
from actors.runtime.system import ActorSystem
from actors.traces import Traces
from persistence.keeping import Keeping

_decode: Final = msgspec.msgpack.Decoder().decode
_encode: Final = msgspec.msgpack.Encoder().encode
_JOINED: Final = event_name(Joined)
_OPENED: Final = event_name(Opened)


class MatchesOfUsers:
    """Finds users in the logs of matches and of their directory.

    The names of users are personal, and are erased. Their ids stay, as players: the game is
    recovered from the log, and its state, its results and what it said to the others hold the ids
    too. An id is made at random and stands for nobody once nothing else tells whose it was. Inputs,
    and what a game makes of them, are the game's own.
    """

    def __init__(self, system: ActorSystem, keeping: Keeping) -> None:
        self._played = Traces(system, keeping, "match", "player")
        self._opened = Traces(system, keeping, DIRECTORY[0], "user")

    async def export(self, user: str) -> list[dict[str, Any]]:
        """Return what the user did in matches, as far as logs have it: matches that the user had
        made, joins with the name of then, leaves, durable inputs, and what games said of the user.
        """
        found: list[dict[str, Any]] = []
        for traces, field in ((self._opened, "user"), (self._played, "player")):
            async with aclosing(traces.events(user)) as pages:
                async for page in pages:
                    found += [
                        _exported(row, event)
                        for row in page
                        if (event := _decode(row[5])).get(field) == user
                    ]
        return found

    async def erase(self, user: str) -> None:
        """Take the user's name out of the matches that the user joined.

        Raises what `Traces.erase` raises.
        """

        def without(row: EventRow) -> bytes | None:
            if row[4] != _JOINED:
                return None
            joined = _decode_joined(row[5])
            if joined.player != user:
                return None
            return _encode(msgspec.structs.replace(joined, name=""))

        await self._played.erase(user, without)


_decode_joined: Final = msgspec.msgpack.Decoder(Joined).decode
_KINDS: Final = {name: name.lower() for name in Match.event_names.values()} | {_OPENED: "created"}


def _exported(row: EventRow, event: dict[str, Any]) -> dict[str, Any]:
    _, match, _, _, type_, _, at_us = row
    kept = {
        field: value
        for field, value in event.items()
        if field not in {"type", "user", "player", "at"}
    }
    try:
        msgspec.json.encode(kept)
    except (TypeError, ValueError, OverflowError, RecursionError):
        kept = {field: repr(value) for field, value in kept.items()}  # JSON cannot hold an input
    return {"match": match, "what": _KINDS[type_], "at": at_us // 1000, **kept}
