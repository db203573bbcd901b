"""What the logs and snapshots of a kind of actors hold of a user: to be exported, or taken out.

The log of an actor is never changed, but for this: what is to be erased goes out of the events, the
snapshots and the memory of the actors, and everything else stays where it was.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final

import msgspec
import structlog

from actors.runtime.stores import EventRow
from actors.runtime.system import ActorSystem
from persistence.keeping import Keeping

FORGET_TIMEOUT_S: Final = 30.0
"""How long an actor may take to come back and forget."""

_encode: Final = msgspec.msgpack.Encoder().encode
_log = structlog.get_logger("actors.traces")


class ForgetUser(msgspec.Struct, frozen=True, gc=False):
    """To an actor: take a user out of the memory. Where the actor held something of the user, or
    the stored snapshot does (`stored`), it also calls `renew_snapshot`.
    """

    user: str
    stored: bool


class NotErased(Exception):  # noqa: N818 - a state
    """Something of the user is left. The text is one line. To erase again does what is left."""


class Traces:
    """What the persistent actors of one kind hold of users.

    Arguments:
        system: the system that they live in.
        keeping: finds and changes events, and finds snapshots.
        kind: the kind.
        field: the name of the field by which an event of theirs names a user.
    """

    def __init__(self, system: ActorSystem, keeping: Keeping, kind: str, field: str) -> None:
        self._system = system
        self._keeping = keeping
        self._kind = kind
        self._field = _encode(field)

    async def events(self, user: str) -> AsyncGenerator[Sequence[EventRow], None]:
        """Yield the events that name a user, in pages, by actor and seq.

        Every event of the kind is looked at, in PostgreSQL and a step at a time. A few events
        may be found that only seem to name the user.
        """
        async with aclosing(self._keeping.marked(self._kind, self._field + _encode(user))) as pages:
            async for page in pages:
                yield page

    async def erase(self, user: str, without: Callable[[EventRow], bytes | None]) -> None:
        """Take a user out of events, snapshots and memory; the actors handle `ForgetUser`.

        What the user does meanwhile may stay, as it would afterwards.

        Arguments:
            user: the user.
            without: returns the payload of an event without the user; None: it may stay as it is.

        Raises:
            NotErased: some actors could not forget.
            StoreError: a store is away.
        """
        durability = self._system.durability
        assert durability is not None, "a node has stores"
        await durability.journal.all_settled()  # what is not in the log yet would not be found
        async for page in self.events(user):
            rewritten = [
                (*row[:5], payload, row[6]) for row in page if (payload := without(row)) is not None
            ]
            if rewritten:
                await self._keeping.rewrite(rewritten)
        # An actor that starts from here on reads a clean log. Those that had started may have read
        # the old one, and the snapshots are as they were.
        in_memory = [ref.key for ref in self._system.actors(self._kind)]
        failed = [key for key in in_memory if not await self._told(key, ForgetUser(user, False))]
        await self._saved()
        stored = self._keeping.marked_snapshots(self._kind, _encode(user))
        async with aclosing(stored) as keys:
            failed += [
                key async for key in keys if not await self._told(key, ForgetUser(user, True))
            ]
        await self._saved()
        if failed:
            some = ", ".join(failed[:5]) + (", ..." if len(failed) > 5 else "")
            raise NotErased(f"{len(failed)} of kind {self._kind} could not forget the user: {some}")

    async def _told(self, key: str, forget: ForgetUser) -> bool:
        """Have an actor forget. It is woken for that, as only its own code can read a snapshot."""
        try:
            await self._system.ref(self._kind, key).ask(forget, timeout=FORGET_TIMEOUT_S)
        except Exception as error:  # whatever keeps it from that, the others are to forget
            _log.warning("not forgotten", kind=self._kind, key=key, error=repr(error))
            return False
        return True

    async def _saved(self) -> None:
        durability = self._system.durability
        if durability is not None and durability.snapshotter is not None:
            await durability.snapshotter.all_settled()
