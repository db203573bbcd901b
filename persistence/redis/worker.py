"""The thread that keeps snapshots."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from typing import Any, Final

import redis
from redis.exceptions import NoScriptError, RedisError

from persistence.batching import each_alone
from persistence.errors import RowRefused, StoreUnavailable
from persistence.redis.actor import RedisActor
from persistence.redis.connection import STORE, one_line
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

# A value is this header (epoch, seq, schema; big-endian) and then the payload: one string, so that
# one GET brings it all.
_HEADER: Final = struct.Struct(">QQQ")
_GLOB: Final = re.compile(r"[*?\[\]\\]")
"""What means something else in a pattern of keys."""

# One key per call rather than all in one, so that a script is never long and needs no key of
# another slot. Lua's numbers are exact up to 2^53, which no epoch or seq will reach.
_SAVE: Final = """
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
"""

# Looks at the values, behind their headers, where they are: a search that fetched them would move
# all snapshots there are.
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
"""How many keys one step of a search looks at, about: of the largest snapshots some 50 MB."""


class SnapshotWorker(RedisActor):
    """Saves and loads snapshots: what has queued up is one pipeline, one round trip."""

    def __init__(self, settings: RedisSettings) -> None:
        super().__init__(settings)
        self._expire_ms = str(math.ceil(settings.snapshot_expire_s * 1000))

    def weigh(self, request: StoreRequest) -> int:
        return max(1, len(request.rows)) if isinstance(request, SaveSnapshots) else 1

    def answer(self, requests: Sequence[StoreRequest]) -> Sequence[Any]:
        """All in one pipeline, in the order they came."""
        return each_alone(super().answer, requests)

    def _converse(self, requests: Sequence[StoreRequest]) -> list[Any]:
        try:
            return self._answer(requests)
        except (RedisError, OSError):
            # A restart between two batches is felt by nobody: everything here can be done twice.
            self._script = ""
            return self._answer(requests)

    def _answer(self, requests: Sequence[StoreRequest]) -> list[Any]:
        if not self._script and any(isinstance(request, SaveSnapshots) for request in requests):
            self._script = str(self._client.script_load(_SAVE))
        pipeline = self._client.pipeline(transaction=False)
        for request in requests:
            self._queue(pipeline, request)
        results = iter(pipeline.execute(raise_on_error=False))
        answers: list[Any] = []
        for request in requests:
            replies = [next(results) for _ in range(self.weigh(request))]
            for reply in replies:
                if isinstance(reply, NoScriptError):
                    raise reply  # the scripts went with a restart; all of it once more
            answers.append(self._interpret(request, replies))
        return answers

    def _queue(self, pipeline: redis.client.Pipeline, request: StoreRequest) -> None:
        """Queue exactly `weigh(request)` commands."""
        match request:
            case SaveSnapshots(rows) if rows:
                for row in rows:
                    key = self._key(row[0], row[1])
                    pipeline.evalsha(self._script, 1, key, _packed(row), self._expire_ms)
            case LoadSnapshot(kind, key):
                pipeline.get(self._key(kind, key))
            case DeleteSnapshot(kind, key):
                pipeline.delete(self._key(kind, key))
            case FindSnapshots(kind, mark, cursor):
                pattern = _GLOB.sub(r"\\\g<0>", self._key(kind, "")) + "*"
                pipeline.eval(_FIND, 0, cursor, pattern, mark, _LOOK_AT)
            case StoreCheck() | SaveSnapshots():
                pipeline.ping()
            case _:
                raise RowRefused(f"not for a snapshot worker: {request}")

    def _interpret(self, request: StoreRequest, replies: Sequence[Any]) -> Any:
        for reply in replies:
            if isinstance(reply, Exception):
                return StoreUnavailable(STORE, one_line(reply))
        if isinstance(request, FindSnapshots):
            cursor, found = replies[0]
            before = len(self._key(request.kind, "").encode())
            return FoundSnapshots([key[before:].decode() for key in found], int(cursor))
        if not isinstance(request, LoadSnapshot):
            return None
        held = replies[0]
        if held is None or len(held) < _HEADER.size:
            return None  # absent, or not ours: recovery comes from the events
        epoch, seq, schema = _HEADER.unpack_from(held)
        return (request.kind, request.key, seq, epoch, schema, held[_HEADER.size :])

    def _key(self, kind: str, key: str) -> str:
        # A colon ends the kind, so that ("a:b", "c") and ("a", "b:c") stay two.
        kind = kind.replace("%", "%25").replace(":", "%3a")
        return f"{self._prefix}snapshot:{kind}:{key}"


def _packed(row: SnapshotRow) -> bytes:
    _, _, seq, epoch, schema, payload = row
    try:
        return _HEADER.pack(epoch, seq, schema) + payload
    except (struct.error, TypeError) as error:
        raise RowRefused(f"not a snapshot: {error}") from None
