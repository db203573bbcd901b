"""What a user has said, in whichever rooms: to be exported, or erased."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, Final

import msgspec

from actors.chat.room import KIND
from actors.chat.rules.room_log import Posted
from actors.runtime.persistence import event_name
from actors.runtime.stores import EventRow
from actors.runtime.system import ActorSystem
from actors.traces import Traces
from persistence.keeping import Keeping

_POSTED: Final = event_name(Posted)
_decode: Final = msgspec.msgpack.Decoder(Posted).decode
_encode: Final = msgspec.msgpack.Encoder().encode


class PostsOfUsers:
    """Finds users' messages in the log."""

    def __init__(self, system: ActorSystem, keeping: Keeping) -> None:
        self._traces = Traces(system, keeping, KIND, "user")

    async def export(self, user: str) -> list[dict[str, Any]]:
        """Return all messages of a user that are kept, by room and offset."""
        found: list[dict[str, Any]] = []
        async with aclosing(self._traces.events(user)) as pages:
            async for page in pages:
                found += [
                    {
                        "room": row[1],
                        "offset": row[2],
                        "name": said.name,
                        "body": said.body,
                        "at": said.at,
                    }
                    for row in page
                    if (said := _said_by(user, row)) is not None
                ]
        return found

    async def erase(self, user: str) -> None:
        """Erase all messages of a user. In each one's place stays a message without user, name and
        body, which keeps the order and the offsets.

        Raises what `Traces.erase` raises.
        """

        def without(row: EventRow) -> bytes | None:
            said = _said_by(user, row)
            return None if said is None else _encode(said.erased())

        await self._traces.erase(user, without)


def _said_by(user: str, row: EventRow) -> Posted | None:
    if row[4] != _POSTED:
        return None
    said = _decode(row[5])
    return said if said.user == user else None
