"""`CounterWorker`: the thread that increments counters in Redis or Valkey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from persistence.errors import RowRefused, StoreUnavailable
from persistence.redis.actor import RedisActor
from persistence.redis.commands import Command, script
from persistence.redis.connection import STORE, one_line
from persistence.redis.lines import converse
from persistence.requests import Increment, StoreCheck, StoreRequest

# A sliding window is estimated from two fixed windows, the present one and the one before. The
# clock is the store's, so that all nodes use the same windows. A counter is one key, which expires.
_INCREMENT: Final = script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local window = tonumber(ARGV[1])
local slot = math.floor(now / window)
local held = redis.call('HMGET', KEYS[1], 'slot', 'count', 'before')
local count, before = 0, 0
if tonumber(held[1]) == slot then
  count, before = tonumber(held[2]), tonumber(held[3])
elseif tonumber(held[1]) == slot - 1 then
  before = tonumber(held[2])
end
count = count + tonumber(ARGV[2])
redis.call('HSET', KEYS[1], 'slot', slot, 'count', count, 'before', before)
redis.call('PEXPIRE', KEYS[1], 2 * window)
return {count, before, now % window}
""")


class CounterWorker(RedisActor):
    """Increments counters. All increments that have queued up go in one round trip.

    A batch whose answer got lost is not sent again, since it might count twice. Its askers get
    `StoreUnavailable`.
    """

    def _converse(self, requests: Sequence[StoreRequest]) -> list[Any]:
        """Return for each: (count of this window, count of the one before, ms into this one)."""
        replies = converse(self._line, _INCREMENT, [self._command(one) for one in requests])
        return [_interpret(one, reply) for one, reply in zip(requests, replies, strict=True)]

    def _command(self, request: StoreRequest) -> Command:
        if not isinstance(request, Increment):
            return ("PING",)
        key = f"{self._prefix}counter:{request.name}"
        return _INCREMENT.call((key,), request.window_ms, request.amount)


def _interpret(request: StoreRequest, reply: Any) -> Any:
    if isinstance(reply, Exception):
        return StoreUnavailable(STORE, one_line(reply))
    if isinstance(request, Increment):
        return tuple(reply)
    return None if isinstance(request, StoreCheck) else RowRefused(f"not for a counter: {request}")
