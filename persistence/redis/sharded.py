"""The connections to a Redis Cluster, used as if they were one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import redis
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError

from persistence.redis.address import Many
from persistence.redis.commands import Command, key_of, only
from persistence.redis.connection import connect_to
from persistence.redis.line import Line
from persistence.settings import RedisSettings

Server = tuple[str, int]

_REDIRECTIONS: Final = 8
"""How often a command follows its key to another server. One or two times are usual."""
_AT_ONCE: Final = 3
"""How many redirections are followed without a pause. Servers that send a command to each other
have not heard of a move yet, and a pause helps."""
_PAUSE_S: Final = 0.01
"""The first pause. Each further one is twice as long, 0.3 s in all."""
_ASKING: Final[Command] = ("ASKING",)


class _Part(NamedTuple):
    """A command's place among all, and the server that it goes to.

    `asking`: whether ASKING goes first, because its key is being moved there.
    """

    place: int
    server: Server | None
    asking: bool = False


class ShardedLine:
    """A connection to each server of a Cluster that is needed.

    Commands go to the servers of their keys, to all of them in one round trip. A command that a
    server refuses, because the key has moved, was not done, and is sent to the key's new server. A
    server that does not answer fails only its own commands; then the Cluster is asked anew which
    server has which keys.

    Arguments:
        settings: the address, and how long an answer may take.
        many: the parsed address.
    """

    def __init__(self, settings: RedisSettings, many: Many) -> None:
        self._settings = settings
        self._many = many
        self._lines: dict[Server, Line] = {}
        self._table: list[Server | None] = []
        """The primary of each hash slot; empty: to be asked for."""
        self._primaries: list[Server] = []

    @property
    def shards(self) -> int:
        """How many servers have a part of the keys each. Raises as `execute`."""
        self._know()
        return len(self._primaries)

    def execute(self, *commands: Command, shard: int = 0) -> Sequence[Any]:
        """Do as `Line.execute`. A PING goes to all servers; if one fails, the reply is its error.

        If a server does not answer, an error takes the place of each of its replies. Raises
        RedisError or OSError if no server says which servers the Cluster has.
        """
        self._know()
        replies: list[Any] = [None] * len(commands)
        todo: list[_Part] = []
        for place, command in enumerate(commands):
            key = key_of(command)
            if command[0] == "PING":
                todo += [_Part(place, server) for server in self._primaries]
            elif key is None:
                todo.append(_Part(place, self._primaries[shard % len(self._primaries)]))
            else:
                todo.append(_Part(place, self._table[key_slot(key)]))
        for number in range(_REDIRECTIONS):
            if number >= _AT_ONCE:
                time.sleep(_PAUSE_S * 2 ** (number - _AT_ONCE))
            todo = self._round(commands, todo, replies)
            if not todo:
                break
        for place, _, _ in todo:
            replies[place] = ClusterDownError("the key moved again and again")
        return replies

    def _round(
        self, commands: Sequence[Command], todo: Sequence[_Part], replies: list[Any]
    ) -> list[_Part]:
        """Send the commands, fill in the replies, and return the commands to send elsewhere."""
        groups: dict[Server, list[_Part]] = {}
        for part in todo:
            if part.server is None:
                replies[part.place] = ClusterDownError("no server has this key's hash slot")
                self._table = []
            else:
                groups.setdefault(part.server, []).append(part)
        sent: list[tuple[Server, int]] = []
        for server, parts in groups.items():
            wire: list[Command] = []
            for part in parts:
                wire += [_ASKING] * part.asking
                wire.append(commands[part.place])
            try:
                self._line(server).send(wire)
                sent.append((server, len(wire)))
            except (RedisError, OSError) as error:
                self._failed(parts, error, replies)
        elsewhere: list[_Part] = []
        for server, count in sent:
            try:
                received = self._line(server).receive(count)
            except (RedisError, OSError) as error:
                self._failed(groups[server], error, replies)
            else:
                elsewhere += self._take(server, groups[server], received, replies)
        return elsewhere

    def _take(
        self, server: Server, parts: Sequence[_Part], received: Iterable[Any], replies: list[Any]
    ) -> list[_Part]:
        """Fill in a server's replies; return the commands whose keys it says are elsewhere."""
        elsewhere = []
        remaining = iter(received)
        for place, _, asking in parts:
            if asking:
                next(remaining)
            reply = next(remaining)
            if isinstance(reply, AskError):  # MovedError is one
                moved = isinstance(reply, MovedError)
                elsewhere.append(_Part(place, (reply.host or server[0], reply.port), not moved))
                if moved:
                    self._table = []  # other keys will have moved, too
                continue
            if isinstance(reply, ClusterDownError):
                self._table = []
            # otherwise another server's reply to the PING was an error
            if not isinstance(replies[place], Exception):
                replies[place] = reply
        return elsewhere

    def _failed(self, parts: Sequence[_Part], error: Exception, replies: list[Any]) -> None:
        self._table = []
        for part in parts:
            replies[part.place] = error

    def _line(self, server: Server) -> Line:
        line = self._lines.get(server)
        if line is None:
            line = Line(self._client(server))
            self._lines[server] = line
        return line

    def _client(self, server: Server) -> redis.Redis:
        return connect_to(self._settings, self._many, *server)

    def _know(self) -> None:
        """Ask which server has which hash slots, unless that is known.

        Raises RedisError or OSError.
        """
        if self._table:
            return
        failure: Exception = ClusterDownError("no server of the Cluster has any hash slot")
        for server in dict.fromkeys((*self._primaries, *self._many.hosts)):
            line = self._line(server)
            try:
                reply = only(line.execute(("CLUSTER", "SLOTS")))
            except (RedisError, OSError) as error:
                failure = error
                continue
            if reply:
                self._read(server, reply)
                return
        raise failure

    def _read(self, asked: Server, ranges: Sequence[Any]) -> None:
        table: list[Server | None] = [None] * 16_384
        primaries: list[Server] = []
        for first, last, primary, *_ in sorted(ranges, key=lambda each: int(each[0])):
            host = (primary[0] or b"").decode()
            server = (host if host not in {"", "?"} else asked[0], int(primary[1]))
            table[first : last + 1] = [server] * (last + 1 - first)
            if server not in primaries:
                primaries.append(server)
        self._table, self._primaries = table, primaries
        for server in [each for each in self._lines if each not in primaries]:
            self._lines.pop(server).close()

    def close(self) -> None:
        """Close all connections; they open again when they are used."""
        for line in self._lines.values():
            line.close()
        self._lines.clear()
        self._table = []
