"""The thread that deletes events that need not be kept any longer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from persistence.errors import RowRefused, StoreError
from persistence.postgres.actor import PostgresActor
from persistence.postgres.connection import qualified
from persistence.requests import DropEnded, Step, StoreRequest, TrimLogs
from persistence.settings import PostgresSettings

_TRIM: Final = "SELECT * FROM {schema}.trim_logs(%s, %s, %s, %s, %s, %s)"
_DROP: Final = "SELECT * FROM {schema}.drop_ended(%s, %s, %s, %s, %s)"


class EventKeeper(PostgresActor):
    """Deletes old events, a step for each request.

    It has a connection of its own, so that no other work waits behind a step.
    """

    batch_weight = 1

    def __init__(self, settings: PostgresSettings) -> None:
        super().__init__(settings)
        self._trim = qualified(settings, _TRIM)
        self._drop = qualified(settings, _DROP)

    def answer(self, requests: Sequence[StoreRequest]) -> Sequence[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: StoreRequest) -> Any:
        call: Any
        arguments: tuple[Any, ...]
        match request:
            case TrimLogs(kind, after, names, kept, before_us, most):
                call, arguments = self._trim, (kind, after, names, kept, before_us, most)
            case DropEnded(kind, last_type, after, names, before_us):
                call, arguments = self._drop, (kind, last_type, after, names, before_us)
            case _:
                return RowRefused(f"not for a keeper: {request}")
        try:
            row = self._link.run(lambda connection: connection.execute(call, arguments).fetchone())
        except StoreError as error:
            return error
        assert row is not None, "a function returns a row"
        return Step(*row)
