"""`Putting`: puts entries of other services into users' inboxes."""

from __future__ import annotations

from typing import Any, Protocol

from actors.inbox.rules.payload import encoded
from actors.inbox.settings import InboxSettings
from persistence.commands import Transaction


class _Settings(Protocol):
    def section(self, name: str, kind: type[InboxSettings]) -> InboxSettings: ...


class Putting:
    """Puts entries into inboxes, within their limits. A service makes one for its commands.

    Arguments:
        settings: the configuration of the server.
    """

    def __init__(self, settings: _Settings) -> None:
        try:
            section = settings.section("inboxes", InboxSettings)
        except LookupError:  # the server runs without this service, so entries wait
            section = InboxSettings()
        self._most_bytes = section.payload_bytes

    def put(self, transaction: Transaction, user: str, type_: str, payload: Any) -> None:
        """Put an entry into a user's inbox, in the transaction of a command.

        If the transaction commits, the entry is in the inbox, and the user's sessions are told.

        Arguments:
            transaction: the command's transaction.
            user: the user whose inbox it is.
            type_: the kind of entry, for clients. It begins with the service, as in
                `friend.tie`.
            payload: a value that both msgpack and JSON can encode.

        Raises NoPayload, a ValueError, if the payload is too long or cannot be encoded.
        """
        transaction.push(user, type_, encoded(payload, self._most_bytes))
