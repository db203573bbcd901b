"""How other services put something into a user's inbox."""

from __future__ import annotations

from typing import Any, Protocol

from actors.inbox.rules.payload import encoded
from actors.inbox.settings import InboxSettings
from persistence.commands import Transaction


class _Settings(Protocol):
    def section(self, name: str, kind: type[InboxSettings]) -> InboxSettings: ...


class Putting:
    """Puts entries into inboxes, within their limits; made where a service makes its commands.

    Arguments:
        settings: the configuration of the server.
    """

    def __init__(self, settings: _Settings) -> None:
        try:
            section = settings.section("inboxes", InboxSettings)
        except LookupError:  # a server without this service: what is put there waits
            section = InboxSettings()
        self._most_bytes = section.payload_bytes

    def put(self, transaction: Transaction, user: str, type_: str, payload: Any) -> None:
        """Put an entry into a user's inbox, in the transaction of a command: if that commits, the
        entry is there, and whoever is online is told.

        Arguments:
            transaction: the command's.
            user: whose inbox it is.
            type_: what clients know the kind of entry by, `friends.request` say: the service first.
            payload: any value that msgpack and JSON have.

        Raises NoPayload, a ValueError: the payload is too long, or has no encoding.
        """
        transaction.push(user, type_, encoded(payload, self._most_bytes))
