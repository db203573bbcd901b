"""What the threads that ask PostgreSQL have in common."""

from __future__ import annotations

from typing import Any

from persistence.batching import BatchingActor
from persistence.postgres.connection import PostgresLink
from persistence.settings import PostgresSettings


class PostgresActor(BatchingActor):
    """A store's thread with a connection of its own, which ends with it.

    `url` stands in for `settings.url`.
    """

    def __init__(self, settings: PostgresSettings, *, url: str | None = None) -> None:
        super().__init__(capacity=settings.inbox_messages)
        self._link = PostgresLink(settings, url=url)

    def on_stop(self) -> None:
        self._link.close()

    def on_failure(self, *_: Any) -> None:
        self._link.close()
