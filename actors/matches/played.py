"""What matches hold of a user, in their rows and their logs: to be exported, or made anonymous."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, Final

import msgspec

from actors.facts import Facts
from actors.matches.commands import SERVICE, ForgetCreator
from actors.matches.match import Match
from actors.matches.old_directory import OLD_DIRECTORY, Opened
from actors.matches.queries import MatchesOfCreator
from actors.matches.rules.record import Joined
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
    """Finds users in the rows and the logs of matches, and in the log of the old directory.

    The names of users are personal, and are erased. Their ids stay, as players: the game is
    recovered from the log, and its state, its results and what it said to the others hold the ids
    too. An id is made at random and stands for nobody once nothing else tells whose it was. Inputs,
    and what a game makes of them, are the game's own. The rows hold the addresses from which users
    created matches, and the keys, which are erased.
    """

    def __init__(self, system: ActorSystem, keeping: Keeping, facts: Facts) -> None:
        self._played = Traces(system, keeping, "match", "player")
        self._opened = Traces(system, keeping, OLD_DIRECTORY[0], "user")
        self._facts = facts

    async def export(self, user: str) -> list[dict[str, Any]]:
        """Return what the user did in matches, as far as rows and logs have it: matches that the
        user had made and that run or whose keys are known, joins with the name of then, leaves,
        durable inputs, and what games said of the user.
        """
        rows = await self._facts.ask(MatchesOfCreator(user))
        found = [{"what": "created", **msgspec.structs.asdict(row)} for row in rows]
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
        """Take the user's name out of the matches that the user joined, and the address and the
        keys out of the rows of those that the user created.

        Raises what `Traces.erase` raises.
        """

        def without(row: EventRow) -> bytes | None:
            if row[4] != _JOINED:
                return None
            joined = _decode_joined(row[5])
            if joined.player != user:
                return None
            return _encode(msgspec.structs.replace(joined, name=""))

        await self._facts.execute(ForgetCreator(user), user=SERVICE)
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
