"""The base class of the threads that ask PostgreSQL."""

from __future__ import annotations

from typing import Any

from persistence.batching import BatchingActor
from persistence.postgres.connection import PostgresLink
from persistence.settings import PostgresSettings


class PostgresActor(BatchingActor):
    """A thread of a store with a connection of its own, which is closed when the thread ends.

    Arguments:
        settings: the address of the database, and how it is used.
        url: an address to use in place of `settings.url`.
    """

    def __init__(self, settings: PostgresSettings, *, url: str | None = None) -> None:
        super().__init__(capacity=settings.inbox_messages)
        self._link = PostgresLink(settings, url=url)

    def on_stop(self) -> None:
        self._link.close()

    def on_failure(self, *_: Any) -> None:
        self._link.close()
