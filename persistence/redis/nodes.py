"""The thread that keeps a node's heartbeat, and claims slots for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from redis.exceptions import ResponseError

from persistence.errors import RowRefused, StoresDiffer, StoreUnavailable
from persistence.nodes import Announce, BeginGeneration, ChangeSlots, Heard, Heartbeat, HeldSlot
from persistence.redis.actor import RedisActor
from persistence.redis.commands import only, script
from persistence.redis.connection import STORE, one_line
from persistence.redis.lines import converse
from persistence.requests import StoreCheck, StoreRequest
from persistence.settings import RedisSettings

PAGE: Final = 4096
"""The most changes of slots in one answer."""
CHANGES: Final = 1024
"""The most slots of one call of a script: 2 ms of Valkey's time."""

# What must be lost together, or not at all, is one hash: heartbeats (beat:<node> = its end by
# Valkey's clock), the generation, the process of Valkey that it belongs to, the cluster whose nodes
# these are, and the last epoch. A slot is a field of another hash, "<epoch> <holder>"; a sorted set
# has the slots by their epochs. Who looks for a slot that a third of the data lacks, finds no
# generation.
_PRESENT: Final = """
local home, slots, epochs = KEYS[1], KEYS[2], KEYS[3]
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local held = redis.call('HMGET', home, 'generation', 'run', 'epoch', 'view', 'era', 'seen',
                        'cluster')
local generation = held[1]
if held[2] ~= run then generation = false end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

_HEARTBEAT: Final = (
    _PRESENT
    + """
local node, lease, gap, since, page = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local cluster = ARGV[6]
if held[7] and held[7] ~= cluster then
  local all = redis.call('HGETALL', home)
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 5) == 'beat:' and tonumber(all[i + 1]) > now then return {-1} end
  end
  return {0}
end
if node ~= '' then redis.call('HSET', home, 'beat:' .. node, now + lease) end
if not generation then return {0} end
local era, seen = tonumber(held[5]), tonumber(held[6])
if now - seen > gap or now < seen then
  era = now
  redis.call('HSET', home, 'era', era)
end
redis.call('HSET', home, 'seen', now)
local left = {}
for i = 7, #ARGV do
  local ends = redis.call('HGET', home, 'beat:' .. ARGV[i])
  left[#left + 1] = math.max(0, tonumber(ends or 0) - now)
end
local changed, entries = {}, {}
if since ~= held[3] then
  changed = redis.call('ZRANGEBYSCORE', epochs, '(' .. since, '+inf', 'LIMIT', 0, page)
  if #changed > 0 then entries = redis.call('HMGET', slots, unpack(changed)) end
end
return {tonumber(generation), held[3], held[4], now - era, left, changed, entries}
"""
)

_BEGIN: Final = (
    _PRESENT
    + """
local cluster = ARGV[3]
if held[7] and held[7] ~= cluster then
  redis.call('DEL', home, slots, epochs)
elseif generation then
  return 0
elseif not held[1] then
  redis.call('DEL', slots, epochs)
end
redis.call('HSET', home, 'generation', ARGV[1], 'run', run, 'epoch', ARGV[2], 'era', now,
           'seen', now, 'cluster', cluster)
redis.call('HSETNX', home, 'view', 0)
return 1
"""
)

_CHANGE: Final = (
    _PRESENT
    + """
if generation ~= ARGV[1] then return redis.error_reply('GENERATION another one has begun') end
local holder, first = ARGV[2], 4
if tonumber(ARGV[3]) > tonumber(held[4]) then redis.call('HSET', home, 'view', ARGV[3]) end
local epoch, given = tonumber(held[3]), {}
for i = first, #ARGV, 2 do
  local slot, known = ARGV[i], tonumber(ARGV[i + 1])
  local entry = redis.call('HGET', slots, slot)
  if not entry or tonumber(string.match(entry, '%d+')) <= known then
    epoch = epoch + 1
    local number = string.format('%.0f', epoch)
    redis.call('HSET', slots, slot, number .. ' ' .. holder)
    redis.call('ZADD', epochs, number, slot)
    given[#given + 1] = number
  else
    given[#given + 1] = ''
  end
end
redis.call('HSET', home, 'epoch', string.format('%.0f', epoch))
return given
"""
)

_ANNOUNCE: Final = (
    _PRESENT
    + """
for i = 2, #ARGV do redis.call('HDEL', home, 'beat:' .. ARGV[i]) end
if generation and tonumber(ARGV[1]) > tonumber(held[4]) then
  redis.call('HSET', home, 'view', ARGV[1])
end
return 1
"""
)

_SCRIPTS: Final = {
    Heartbeat: script(_HEARTBEAT),
    BeginGeneration: script(_BEGIN),
    ChangeSlots: script(_CHANGE),
    Announce: script(_ANNOUNCE),
}
EPOCHS: Final = 1 << 32
"""The first epoch of a generation is its number times this."""


def home(settings: RedisSettings) -> str:
    """Return the beginning of a cluster's keys: it puts all into one hash slot."""
    return f"{settings.prefix}{{cluster}}"


class NodeWorker(RedisActor):
    """Sends a node's heartbeats, and its claims of slots.

    It waits for an answer no longer than `timeout_s`, because a late heartbeat is useless.

    Arguments:
        settings: the address of the store.
        timeout_s: for connecting, and for each answer.
    """

    batch_weight = 1

    def __init__(self, settings: RedisSettings, *, timeout_s: float) -> None:
        timeout_s = min(settings.timeout_s, timeout_s)
        retry_s = min(settings.first_retry_s, timeout_s / 2)
        super().__init__(
            msgspec.structs.replace(
                settings, timeout_s=timeout_s, first_retry_s=retry_s, max_retry_s=retry_s
            )
        )
        first = home(settings)
        self._keys = (f"{first}:nodes", f"{first}:slots", f"{first}:epochs")

    def _converse(self, requests: Sequence[StoreRequest]) -> list[Any]:
        return [self._ask(request) for request in requests]

    def _ask(self, request: StoreRequest) -> Any:
        answer: Any = None
        try:
            match request:
                case Heartbeat(node, lease_ms, gap_ms, since, watched, cluster):
                    reply = self._run(
                        request, node, lease_ms, gap_ms, since, PAGE, cluster, *watched
                    )
                    answer = _heard(since, reply)
                case BeginGeneration(generation, cluster):
                    self._run(request, generation, generation * EPOCHS, cluster)
                case ChangeSlots():
                    answer = self._change(request)
                case Announce(view, gone):
                    self._run(request, view, *gone)
                case StoreCheck():
                    only(self._line.execute(("PING",)))
                case _:
                    answer = RowRefused(f"not for a node's worker: {request}")
        except ResponseError as error:
            answer = StoreUnavailable(STORE, one_line(error))
        return answer

    def _change(self, request: ChangeSlots) -> list[HeldSlot]:
        changed: list[HeldSlot] = []
        for start in range(0, len(request.changes), CHANGES):
            some = request.changes[start : start + CHANGES]
            flat = [number for change in some for number in change]
            holder, view = request.holder or "", request.view
            given = self._run(request, request.generation, holder, view, *flat)
            changed += [
                HeldSlot(slot, int(epoch), request.holder)
                for (slot, _), epoch in zip(some, given, strict=True)
                if epoch
            ]
        return changed

    def _run(self, request: StoreRequest, *arguments: Any) -> Any:
        script = _SCRIPTS[type(request)]
        return only(converse(self._line, script, [script.call(self._keys, *arguments)]))


def _heard(since: int, reply: Sequence[Any]) -> Heard | StoresDiffer:
    if reply[0] < 0:
        return StoresDiffer(STORE, "nodes whose register is another one live in this Valkey")
    if not reply[0]:
        return Heard(0)
    generation, epoch, view, calm_ms, left_ms, changed, entries = reply
    news = []
    for slot, entry in zip(changed, entries, strict=True):
        if entry is not None:
            number, _, holder = entry.partition(b" ")
            news.append(HeldSlot(int(slot), int(number), holder.decode() or None))
    more = len(changed) == PAGE
    heard = news[-1].epoch if more else int(epoch)
    return Heard(
        generation=generation,
        view=int(view),
        calm_ms=calm_ms,
        left_ms=left_ms,
        news=news,
        heard=max(heard, since),
        more=more,
    )
