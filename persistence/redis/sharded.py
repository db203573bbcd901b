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
"""A key that has moved so often while it was asked for is given up; it takes one or two."""
_AT_ONCE: Final = 3
"""So many redirections are followed at once. Servers that send a key to one another have yet to
hear of its move, and a pause helps."""
_PAUSE_S: Final = 0.01
"""The first of these pauses; it doubles each time, to 0.3 s in all."""
_ASKING: Final[Command] = ("ASKING",)


class _Part(NamedTuple):
    """A command's place among all, the server that it goes to, and whether it is let in there by
    ASKING: its key is being moved.
    """

    place: int
    server: Server | None
    asking: bool = False


class ShardedLine:
    """A connection to each server of a Cluster that is needed.

    Commands go to the servers of their keys, to all in one round trip. One that a server refuses as
    the key has moved was not done, and is sent to where it is. A server that does not answer fails
    its own commands and no others; then the Cluster is asked anew who has which keys.

    Arguments:
        settings: the address, and how long an answer may take.
        many: the address, read.
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
        """As of `Line`. A PING goes to all servers, and its reply is an error if one has failed.

        Raises RedisError or OSError if no server says how the Cluster is made up. A server that
        does not answer is an error in the place of each of its replies.
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
        """Send what is to do, fill in replies, and return what is to be sent elsewhere."""
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
        """Fill in what a server has replied; return what it says is elsewhere."""
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
                    self._table = []  # more will have moved
                continue
            if isinstance(reply, ClusterDownError):
                self._table = []
            if not isinstance(replies[place], Exception):  # else one of a PING's has failed
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
        """Ask who has which hash slots, unless that is known. Raises RedisError or OSError."""
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
