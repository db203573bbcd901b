"""Decides from a run's records alone whether the server kept its promises.

Each rule is a generator over the history. It yields what it finds wrong, under the name by which
actors/node/README.md states the guarantee. The approach is that of Jepsen (Kingsbury,
https://jepsen.io): clients record calls with their times, faults come from outside, and only the
records are judged. Chat rooms are logs with a total order, so the check takes time linear in the
records, without a search over interleavings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise

import msgspec

from tests.chaos.friend_rules import (
    acknowledged_blocks_are_kept,
    no_one_befriends_a_blocker,
    ties_are_symmetric,
)
from tests.chaos.history import History, Placed, Row, Saw, Send
from tests.chaos.inbox_rules import acknowledged_entries_are_kept, no_entry_is_there_twice
from tests.chaos.object_rules import (
    acknowledged_writes_are_kept,
    no_write_acts_twice,
    no_write_meets_another_version,
    versions_only_grow,
)


class Violation(msgspec.Struct, frozen=True):
    """One broken promise: the rule's name and the case."""

    rule: str
    detail: str


def check(history: History) -> list[Violation]:
    """Everything wrong with `history`, in the order of the rules; empty when all was kept."""
    return [Violation(rule.__name__, detail) for rule in RULES for detail in rule(history)]


def log_has_no_gap(history: History) -> Iterator[str]:
    """A log's seqs are 1, 2, 3 ... without a gap and none twice."""
    for (kind, key), rows in _logs(history).items():
        seqs = [row.seq for row in rows]
        if seqs != list(range(1, len(seqs) + 1)):
            wrong = next(n for n, seq in enumerate(seqs, start=1) if seq != n)
            yield f"{kind} {key}: seq {wrong} is missing or there twice"


def log_has_one_writer_at_a_time(history: History) -> Iterator[str]:
    """Epochs never fall along a log: an older incarnation never appends after a newer one."""
    for (kind, key), rows in _logs(history).items():
        for before, after in pairwise(rows):
            if after.epoch < before.epoch:
                yield (
                    f"{kind} {key}: seq {after.seq} is of epoch {after.epoch}, "
                    f"after epoch {before.epoch} had begun"
                )


def acknowledged_sends_are_kept(history: History) -> Iterator[str]:
    """A send answered `ok` is in the log at the offset that the answer gave."""
    log = {(row.key, row.seq): row for row in history.log if row.kind == "room"}
    for send in history.sends:
        if send.outcome != "ok":
            continue
        row = log.get((send.room, send.offset))
        if row is None:
            yield f"{send.room} #{send.offset} {send.body!r}: acknowledged and not there"
        elif row.body != send.body:
            yield f"{send.room} #{send.offset}: acknowledged {send.body!r}, holds {row.body!r}"


def no_send_acts_twice(history: History) -> Iterator[str]:
    """A command is in the log once or not at all, however often it was tried."""
    seen: dict[tuple[str, str], int] = {}
    for row in history.log:
        if row.kind == "room" and row.body:
            first = seen.setdefault((row.key, row.body), row.seq)
            if first != row.seq:
                yield f"{row.key}: {row.body!r} stands at {first} and again at {row.seq}"


def no_key_acts_twice(history: History) -> Iterator[str]:
    """Attempts with one idempotency key are answered with one offset, and logged once."""
    answered: dict[tuple[str, str, str], int] = {}
    for send in history.sends:
        if send.key is None or send.outcome != "ok":
            continue
        first = answered.setdefault((send.room, send.user, send.key), send.offset)
        if first != send.offset:
            yield f"{send.room}: key {send.key} was answered with {first} and {send.offset}"
    logged: dict[tuple[str, str, str], int] = {}
    for row in history.log:
        if row.kind == "room" and row.idempotency_key is not None:
            first = logged.setdefault((row.key, row.user, row.idempotency_key), row.seq)
            if first != row.seq:
                yield f"{row.key}: key {row.idempotency_key} is logged at {first} and {row.seq}"


def refused_sends_do_not_act(history: History) -> Iterator[str]:
    """A command whose every attempt met an error without `retry` is not there.

    The error `internal` is an exception: PROTOCOL.md says that such a request may have acted.
    """
    attempts: dict[tuple[str, str], list[Send]] = defaultdict(list)
    for send in history.sends:
        attempts[send.room, send.body].append(send)
    logged = {(row.key, row.body) for row in history.log if row.kind == "room"}
    for (room, body), tries in attempts.items():
        refused = all(
            each.outcome == "error" and not each.retry and each.code != "internal" for each in tries
        )
        if refused and (room, body) in logged:
            yield f"{room}: {body!r} was refused and is there"


def order_follows_real_time(history: History) -> Iterator[str]:
    """A send called after another was acknowledged stands after it (linearizability)."""
    rooms: dict[str, list[Send]] = defaultdict(list)
    for send in history.sends:
        if send.outcome == "ok":
            rooms[send.room].append(send)
    for room, sends in rooms.items():
        # A retry is answered with the offset of the first attempt. So what was acknowledged before
        # the first call must stand before the message.
        first_call: dict[str, float] = {}
        for send in history.sends:
            if send.room == room:
                first_call[send.body] = min(
                    send.called_at, first_call.get(send.body, send.called_at)
                )
        by_answer = sorted(sends, key=lambda send: send.answered_at)
        by_call = sorted(sends, key=lambda send: first_call[send.body])
        highest, answered = 0, 0
        for send in by_call:
            called_at = first_call[send.body]
            while answered < len(by_answer) and by_answer[answered].answered_at < called_at:
                highest = max(highest, by_answer[answered].offset)
                answered += 1
            if send.offset < highest:
                yield f"{room}: {send.body!r} at {send.offset} was called after {highest} was acked"


def streams_are_complete(history: History) -> Iterator[str]:
    """What a client was pushed has no gap and nothing twice, across every reconnect.

    What it saw is also what the log holds, except for messages that it was told are void: by a
    restart that sets its position back, or by a reset.
    """
    log = {
        (row.key if row.kind == "room" else f"user:{row.key}", row.seq): row.body
        for row in history.log
        if row.kind in {"room", "user"}
    }
    streams: dict[tuple[str, str], list[Saw | Placed]] = defaultdict(list)
    for item in history.stream:
        streams[item.client, item.room].append(item)
    for (client, room), items in streams.items():
        stream = _Stream(f"{client} in {room}")
        for item in items:
            yield from stream.take(item)
        for offset, body in stream.seen.items():
            if log.get((room, offset)) != body:
                yield f"{client} in {room}: saw {body!r} at {offset}, which is not in the log"


class _Stream:
    """One client's view of one room: its position, and the messages that it believes are there."""

    def __init__(self, who: str) -> None:
        self.who = who
        self.offset: int | None = None
        self.seen: dict[int, str] = {}

    def take(self, item: Saw | Placed) -> Iterator[str]:
        if isinstance(item, Saw):
            yield from self._message(item.offset, item.body)
        elif item.how == "restarted":
            if self.offset is not None and item.offset > self.offset:
                yield f"{self.who}: a restart skipped {self.offset + 1} to {item.offset}"
            self._set_back(item.offset)
        elif item.how == "recovered":
            for offset, body in item.messages:
                yield from self._message(offset, body)
            if self.offset != item.offset:
                yield f"{self.who}: recovered to {item.offset}, but stands at {self.offset}"
        elif item.how == "lost":
            self._set_back(0)
            self.offset = None
        else:
            yield from self._start(item)

    def _message(self, offset: int, body: str) -> Iterator[str]:
        if self.offset is None:
            yield f"{self.who}: was pushed {offset} before it had a position"
        elif offset <= self.offset:
            yield f"{self.who}: was pushed {offset} twice"
        elif offset > self.offset + 1:
            yield f"{self.who}: was pushed {offset} after {self.offset}"
        self.offset = offset
        self.seen[offset] = body

    def _start(self, item: Placed) -> Iterator[str]:
        """A state to start from must have no gaps, and must end at its offset."""
        offsets = [offset for offset, _ in item.messages]
        if offsets != list(range(item.offset - len(offsets) + 1, item.offset + 1)):
            yield f"{self.who}: {item.how} at {item.offset} with messages {offsets}"
        self._set_back(0 if item.how == "reset" else item.offset)
        self.offset = item.offset
        self.seen.update(item.messages)

    def _set_back(self, offset: int) -> None:
        self.offset = offset
        for later in [seen for seen in self.seen if seen > offset]:
            del self.seen[later]


WRITTEN_WITHIN_S = 1.0
"""How long after its return the snapshot store has what it missed."""


def match_states_are_true(history: History) -> Iterator[str]:
    """After a restart a match is in a state it had been in, no older than a snapshot interval.

    Each client is judged by what it has seen itself: on a busy machine one may read many seconds
    later than another, and is then told late of a restart that the other has seen long before.

    It may be older if a server ended while the snapshot store was away, or within a second after
    that, but only by the time for which no snapshot could be written.
    """
    states: dict[tuple[str, str], list[tuple[float, int, str, bool]]] = defaultdict(list)
    for state in history.states:
        seen_by = states[state.match, state.client]
        seen_by.append((state.at, state.tick, state.digest, state.after_restart))
    for (match, _), seen in states.items():
        hz = history.tick_hz.get(match, 0.0)
        # One interval until the snapshot is taken, one for writing it and for the push.
        allowed = int(2 * history.snapshot_interval_s * hz) + 2
        # A tick can have several states, because a player who joins is shown at once, in the same
        # tick.
        known: dict[int, set[str]] = defaultdict(set)
        first_seen: dict[int, float] = {}
        newest = 0
        for at, tick, digest, restarted in sorted(seen):
            if restarted:
                if tick < newest - allowed:
                    passed = min(first_seen[later] for later in known if later > tick)
                    unwritten_s = _unwritten_s(history, passed, first_seen[newest], at)
                    if tick < newest - allowed - unwritten_s * hz:
                        yield f"{match}: came back at tick {tick}, {newest} had been seen"
                if tick in known and digest not in known[tick]:
                    yield f"{match}: came back at tick {tick} in a state it had not been in"
                # From here on the match need not go the way that it went before the crash.
                for later in [later for later in known if later > tick]:
                    del known[later], first_seen[later]
                newest = tick
            known[tick].add(digest)
            first_seen.setdefault(tick, at)
            newest = max(newest, tick)


def _unwritten_s(history: History, passed: float, newest: float, back: float) -> float:
    """For how long no snapshot of a match could be written before it came back.

    That is the part of the time between two states, the one it came back in and the newest seen
    before, in which a store was away; 0 if no server ended since.

    Arguments:
        passed: when the match had gone past the state that it came back in.
        newest: when the newest state was first seen.
        back: when it came back.
    """
    if not any(passed <= ended <= back for ended in history.servers_ended):
        return 0.0
    until, total = passed, 0.0
    for began, ended in sorted(history.unwritten):
        begun, until = max(began, until), max(until, ended + WRITTEN_WITHIN_S)
        total += max(0.0, min(until, newest) - begun)
    return total


def acknowledged_inputs_are_kept(history: History) -> Iterator[str]:
    """A durable input that was answered `ok` is in its match's log, once."""
    logged: dict[tuple[str, str, str], int] = defaultdict(int)
    for row in history.log:
        if row.kind == "match":
            logged[row.key, row.user, row.body] += 1
    for given in history.inputs:
        times = logged[given.match, given.user, str(given.seq)]
        if given.outcome == "ok" and times == 0:
            yield f"{given.match}: input {given.seq} of {given.user} was acknowledged and is gone"
        if times > 1:
            yield f"{given.match}: input {given.seq} of {given.user} acted {times} times"


def no_input_is_answered_in_two_ways(history: History) -> Iterator[str]:
    """A durable input that is sent again is acknowledged with the tick of the first attempt."""
    answered: dict[tuple[str, str, int], int] = {}
    for given in history.inputs:
        if given.outcome == "ok":
            who = (given.match, given.user, given.seq)
            first = answered.setdefault(who, given.tick)
            if first != given.tick:
                yield (
                    f"{given.match}: input {given.seq} of {given.user} was answered with tick "
                    f"{first} and {given.tick}"
                )


def rejected_inputs_do_not_act(history: History) -> Iterator[str]:
    """An input that was refused by the rules of its game every time is not in the log."""
    answers: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for given in history.inputs:
        answers[given.match, given.user, str(given.seq)].add(given.code)
    for row in history.log:
        codes = answers.get((row.key, row.user, row.body)) if row.kind == "match" else None
        if codes and codes <= {"rejected", "bad_input"}:
            yield f"{row.key}: input {row.body} of {row.user} was {', '.join(codes)} and is there"


def created_matches_are_there(history: History) -> Iterator[str]:
    """A match whose creation was answered `ok` has a log."""
    logs = {row.key for row in history.log if row.kind == "match" and row.seq == 1}
    for made in history.made:
        if made.match not in logs:
            yield f"{made.match}: was created for {made.user} with {made.key} and is not there"


def no_create_acts_twice(history: History) -> Iterator[str]:
    """Creations of one user with one key are answered with one match."""
    matches: dict[tuple[str, str], str] = {}
    for made in history.made:
        first = matches.setdefault((made.user, made.key), made.match)
        if first != made.match:
            yield f"{made.key} of {made.user} made {first} and {made.match}"


RULES: tuple[Callable[[History], Iterator[str]], ...] = (
    log_has_no_gap,
    log_has_one_writer_at_a_time,
    acknowledged_sends_are_kept,
    no_send_acts_twice,
    no_key_acts_twice,
    refused_sends_do_not_act,
    order_follows_real_time,
    streams_are_complete,
    match_states_are_true,
    acknowledged_inputs_are_kept,
    no_input_is_answered_in_two_ways,
    rejected_inputs_do_not_act,
    created_matches_are_there,
    no_create_acts_twice,
    acknowledged_writes_are_kept,
    versions_only_grow,
    no_write_acts_twice,
    no_write_meets_another_version,
    acknowledged_entries_are_kept,
    no_entry_is_there_twice,
    ties_are_symmetric,
    no_one_befriends_a_blocker,
    acknowledged_blocks_are_kept,
)


def _logs(history: History) -> dict[tuple[str, str], list[Row]]:
    logs: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in history.log:
        logs[row.kind, row.key].append(row)
    for rows in logs.values():
        rows.sort(key=lambda row: (row.seq, row.epoch))
    return logs
