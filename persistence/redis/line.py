"""A connection that sends commands and returns replies without converting them.

redis-py's own commands cost some 20 us each in checks, callbacks and objects, more than all else
that a message of the bus costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from redis.exceptions import ReadOnlyError, ResponseError

from persistence.redis.commands import Command


class Line:
    """One connection, which opens when it is first used, and again after a failure.

    Arguments:
        client: makes the connection. Behind Sentinels it asks them for the primary each time.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._connection: Any = None
        self._demoted = False

    @property
    def shards(self) -> int:
        """The number of servers that share the keys."""
        return 1

    def execute(self, *commands: Command, shard: int = 0) -> Sequence[Any]:  # noqa: ARG002
        """Send the commands together; return a reply for each: bytes, or an error that it had.

        `shard` is for commands without a key: the number of the server that they are for.

        Raises RedisError or OSError if the store does not answer. Then it is not known which of the
        commands were done.
        """
        self.send(commands)
        return self.receive(len(commands))

    def send(self, commands: Sequence[Command]) -> None:
        """Send commands. Raises as `execute`."""
        try:
            if self._connection is None:
                self._connection = self._client.connection_pool.get_connection()
            connection = self._connection
            connection.send_packed_command(connection.pack_commands(commands))
        except BaseException:
            self.close()
            raise

    def receive(self, count: int) -> list[Any]:
        """Return the replies to so many commands that were sent. Raises as `execute`."""
        try:
            replies = [self._reply() for _ in range(count)]
        except BaseException:
            self.close()
            raise
        if self._demoted:  # this server was the primary; another one may have its name now
            self._demoted = False
            self.close()
        return replies

    def _reply(self) -> Any:
        try:
            return self._connection.read_response(disable_decoding=True)
        except ReadOnlyError as error:
            self._demoted = True
            return error
        except ResponseError as error:
            return error

    def close(self) -> None:
        """Close it; it opens again when it is used."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
            self._client.connection_pool.release(connection)
