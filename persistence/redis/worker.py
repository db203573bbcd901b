"""`SnapshotWorker`: the thread that saves and loads snapshots in Redis or Valkey."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import RedisError

from persistence.batching import each_alone
from persistence.errors import RowRefused, StoreUnavailable
from persistence.redis.actor import RedisActor
from persistence.redis.commands import Command, script
from persistence.redis.connection import STORE, one_line
from persistence.redis.lines import converse
from persistence.requests import (
    DeleteSnapshot,
    FindSnapshots,
    FoundSnapshots,
    LoadSnapshot,
    SaveSnapshots,
    StoreCheck,
    StoreRequest,
)
from persistence.rows import SnapshotRow
from persistence.settings import RedisSettings

# A value is this header (epoch, seq, schema; big-endian) followed by the payload. It is one string,
# so that one GET returns everything.
_HEADER: Final = struct.Struct(">QQQ")
_GLOB: Final = re.compile(r"[*?\[\]\\]")
"""Characters with a meaning of their own in a pattern of keys."""

# Each call saves one key, so that a script is always short and needs no key of another slot. Lua's
# numbers are exact up to 2^53, which no epoch or seq will reach.
_SAVE: Final = script("""
local held = redis.call('GETRANGE', KEYS[1], 0, 15)
if #held == 16 then
  local epoch, seq = struct.unpack('>I8I8', held)
  local new_epoch, new_seq = struct.unpack('>I8I8', ARGV[1])
  if new_epoch < epoch or (new_epoch == epoch and new_seq < seq) then return 0 end
end
if ARGV[2] == '0' then
  redis.call('SET', KEYS[1], ARGV[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
""")

# The script searches the values, after their headers, inside the store. A search that fetched them
# would transfer all snapshots.
_FIND: Final = """
local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[4])
local found = {}
for _, key in ipairs(page[2]) do
  local value = redis.call('GET', key)
  if value and string.find(value, ARGV[3], 25, true) then found[#found + 1] = key end
end
return {page[1], found}
"""
_LOOK_AT: Final = 100
"""About how many keys one step of a search looks at. With the largest snapshots that is 50 MB."""


class SnapshotWorker(RedisActor):
    """Saves and loads snapshots. All requests that have queued up go in one round trip."""

    def __init__(self, settings: RedisSettings) -> None:
        super().__init__(settings)
        self._expire_ms = str(math.ceil(settings.snapshot_expire_s * 1000))

    def weigh(self, request: StoreRequest) -> int:
        return max(1, len(request.rows)) if isinstance(request, SaveSnapshots) else 1

    def answer(self, requests: Sequence[StoreRequest]) -> Sequence[Any]:
        """Answer all requests in one pipeline, in their order."""
        return each_alone(super().answer, requests)

    def _converse(self, requests: Sequence[StoreRequest]) -> list[Any]:
        try:
            return self._answer(requests, again=True)
        except (RedisError, OSError):
            # The store may have restarted since the last batch. All requests here can be sent
            # twice.
            return self._answer(requests, again=False)

    def _answer(self, requests: Sequence[StoreRequest], *, again: bool) -> list[Any]:
        queued = [self._commands(request) for request in requests]
        commands = [command for each in queued for command in each]
        replies = converse(self._line, _SAVE, commands)
        for reply in replies:
            if again and isinstance(reply, NotConnected | OSError):
                raise reply  # one server of several has restarted
        results = iter(replies)
        return [
            self._interpret(request, [next(results) for _ in each])
            for request, each in zip(requests, queued, strict=True)
        ]

    def _commands(self, request: StoreRequest) -> list[Command]:
        match request:
            case SaveSnapshots(rows) if rows:
                return [
                    _SAVE.call((self._key(row[0], row[1]),), _packed(row), self._expire_ms)
                    for row in rows
                ]
            case LoadSnapshot(kind, key):
                return [("GET", self._key(kind, key))]
            case DeleteSnapshot(kind, key):
                return [("DEL", self._key(kind, key))]
            case StoreCheck() | SaveSnapshots():
                return [("PING",)]
            case FindSnapshots():
                return []
            case _:
                raise RowRefused(f"not for a snapshot worker: {request}")

    def _interpret(self, request: StoreRequest, replies: Sequence[Any]) -> Any:
        if isinstance(request, FindSnapshots):
            return self._find(request)
        for reply in replies:
            if isinstance(reply, Exception):
                return StoreUnavailable(STORE, one_line(reply))
        if not isinstance(request, LoadSnapshot):
            return None
        held = replies[0]
        if held is None or len(held) < _HEADER.size:
            return None  # absent, or not a snapshot: the actor recovers from its events
        epoch, seq, schema = _HEADER.unpack_from(held)
        return (request.kind, request.key, seq, epoch, schema, held[_HEADER.size :])

    def _find(self, request: FindSnapshots) -> FoundSnapshots | StoreUnavailable:
        """Look through some of the keys, server after server.

        A cursor is that of one server times the number of servers, plus the number of this one.
        """
        shards = self._line.shards
        cursor, shard = divmod(request.cursor, shards)
        pattern = _GLOB.sub(r"\\\g<0>", self._key(request.kind, "")) + "*"
        command: Command = ("EVAL", _FIND, 0, cursor, pattern, request.mark, _LOOK_AT)
        (reply,) = self._line.execute(command, shard=shard)
        if isinstance(reply, Exception):
            return StoreUnavailable(STORE, one_line(reply))
        after, found = reply
        before = len(self._key(request.kind, "").encode())
        if int(after):
            following = int(after) * shards + shard
        else:
            following = shard + 1 if shard + 1 < shards else 0
        return FoundSnapshots([key[before:].decode() for key in found], following)

    def _key(self, kind: str, key: str) -> str:
        # Colons in the kind are escaped, so that ("a:b", "c") and ("a", "b:c") have different keys.
        kind = kind.replace("%", "%25").replace(":", "%3a")
        return f"{self._prefix}snapshot:{kind}:{key}"


def _packed(row: SnapshotRow) -> bytes:
    _, _, seq, epoch, schema, payload = row
    try:
        return _HEADER.pack(epoch, seq, schema) + payload
    except (struct.error, TypeError) as error:
        raise RowRefused(f"not a snapshot: {error}") from None
