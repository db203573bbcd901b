"""A connection for the bus, on which commands and replies are left as they are.

redis-py's own commands cost some 20 us each in checks, callbacks and objects, more than all else
that a message costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from persistence.redis.connection import connect
from persistence.settings import RedisSettings

Command = tuple[bytes | str | int, ...]


class RawConnection:
    """One connection, which opens when it is first used, and again after a failure."""

    def __init__(self, settings: RedisSettings) -> None:
        self._client = connect(settings)
        self._connection: Any = None

    def execute(self, *commands: Command) -> Sequence[Any]:
        """Send the commands together; return a reply for each: bytes, or a ResponseError.

        Raises RedisError or OSError if the store does not answer. Then it is not known which of the
        commands were done.
        """
        try:
            if self._connection is None:
                self._connection = self._client.connection_pool.get_connection()
            connection = self._connection
            connection.send_packed_command(connection.pack_commands(commands))
            return [self._reply() for _ in commands]
        except BaseException:
            self.close()
            raise

    def _reply(self) -> Any:
        try:
            return self._connection.read_response(disable_decoding=True)
        except ResponseError as error:
            return error

    def close(self) -> None:
        """Close it; it opens again when it is used."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
            self._client.connection_pool.release(connection)
