from __future__ import annotations

import weakref
from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from protocol.codec import MSGPACK
from protocol.server.outbox import IDLE, NOW, SEND_BYTES, Outbox, push_soon_to_all


@dataclass(eq=False)
class Line:
    """A transport that counts what the outbox tells it."""

    dirty: int = 0
    dirty_soon: int = 0
    overflows: int = 0
    sent_alls: int = 0
    errors: list[OSError] = field(default_factory=list)

    address: str | None = None
    takes: int | None = 1_000_000
    """The most bytes that a send takes; None: it would block."""
    got: list[bytes] = field(default_factory=list)

    def send(self, data: bytes | memoryview) -> int:
        if self.takes is None:
            raise BlockingIOError
        self.got.append(bytes(data[: self.takes]))
        return len(self.got[-1])

    async def wait_writable(self) -> None: ...

    def overflowed(self) -> None:
        self.overflows += 1

    def fell_behind(self, reason: str) -> None: ...

    def broken(self, error: OSError) -> None:
        self.errors.append(error)

    def sent_all(self) -> None:
        self.sent_alls += 1

    def mark(self, _: Outbox) -> None:
        self.dirty += 1

    def mark_soon(self, _: Outbox) -> None:
        self.dirty_soon += 1


def box(limit: int = 1_000_000) -> tuple[Outbox, Line]:
    line = Line()
    return Outbox(MSGPACK, limit, line, line), line


def drain(outbox: Outbox) -> bytes:
    """Return everything that a socket without bounds would get."""
    got = b""
    while data := bytes(outbox.next_bytes()):
        got += data
        outbox.sent(data, len(data))
    outbox.idle()
    return got


def test_frames_leave_in_order_in_one_send_and_mark_once() -> None:
    outbox, line = box()
    for frame in (b"a", b"bb", b"ccc"):
        outbox.push(frame)
    assert outbox.queued_bytes == 6
    assert line.dirty == 1
    data = outbox.next_bytes()
    assert data == b"abbccc"
    assert outbox.sent(data, 6)
    assert outbox.idle()
    outbox.push(b"d")
    assert line.dirty == 2


def test_what_may_wait_is_marked_so_until_something_may_not() -> None:
    outbox, line = box()
    outbox.push_soon(b"a")
    outbox.push_soon(b"b")
    assert (line.dirty_soon, line.dirty) == (1, 0)
    outbox.push(b"c")
    outbox.push_soon(b"d")
    outbox.push(b"e")
    assert (line.dirty_soon, line.dirty) == (1, 1)
    assert drain(outbox) == b"abcde"
    outbox.push_soon(b"f")
    assert (line.dirty_soon, line.dirty) == (2, 1)


def test_what_may_wait_is_within_the_bound_too() -> None:
    outbox, line = box(limit=3)
    outbox.push_soon(b"abc")
    outbox.push_soon(b"d")
    assert line.overflows == 1
    assert drain(outbox) == b"abc"


def test_what_is_pushed_to_all_goes_where_there_is_room_and_marks_whoever_had_nothing() -> None:
    (quiet, quiet_line), (busy, busy_line), (full, full_line), (gone, gone_line) = (
        box(limit=5), box(limit=5), box(limit=5), box(limit=5),
    )  # fmt: skip
    busy.push_soon(b"ab")
    full.push_soon(b"abcde")
    gone.abandon()
    push_soon_to_all(b"c", [quiet, busy, full, gone])
    lines = (quiet_line, busy_line, full_line, gone_line)
    assert [line.dirty_soon for line in lines] == [1, 1, 1, 0]
    assert [line.overflows for line in lines] == [0, 0, 1, 0]
    assert [drain(one) for one in (quiet, busy, full, gone)] == [b"c", b"abc", b"abcde", b""]


def test_the_rest_of_a_partial_send_goes_first_and_unchanged() -> None:
    outbox, _ = box()
    outbox.push(b"abcdef")
    assert not outbox.sent(outbox.next_bytes(), 2)
    outbox.push(b"g")
    assert not outbox.idle()
    assert bytes(outbox.next_bytes()) == b"cdef"
    assert drain(outbox) == b"cdefg"
    assert outbox.queued_bytes == 0


def test_sent_at_once_it_is_as_if_taken_sent_and_found_idle() -> None:
    outbox, line = box()
    assert outbox.send_at_once() == 0
    outbox.replace("m", b"[state]")
    outbox.push(b"[event]")
    assert outbox.send_at_once() == 14
    assert line.got == [b"[state][event]"]
    assert outbox.waiting is IDLE
    outbox.replace("m", b"[next]")  # the one before has left, and is not looked for
    assert outbox.queued_bytes == 6
    assert line.dirty == 2


def test_what_a_send_at_once_leaves_over_goes_first() -> None:
    outbox, line = box()
    outbox.push(b"abcdef")
    line.takes = 2
    assert outbox.send_at_once() == 2
    assert outbox.waiting is NOW
    outbox.push(b"g")
    assert outbox.send_at_once() == 0  # not that simple any more
    assert drain(outbox) == b"cdefg"


def test_a_send_at_once_that_fails_changes_nothing() -> None:
    outbox, line = box()
    outbox.push(b"abc")
    line.takes = None
    with pytest.raises(BlockingIOError):
        outbox.send_at_once()
    assert drain(outbox) == b"abc"


def test_a_newer_state_replaces_the_older_and_goes_to_the_end() -> None:
    outbox, _ = box()
    outbox.replace("m1", b"[state 1]")
    outbox.push(b"[event]")
    outbox.replace("m2", b"[other]")
    outbox.replace("m1", b"[state 2]")
    outbox.push(b"[ended]")
    assert drain(outbox) == b"[event][other][state 2][ended]"


def test_a_state_that_has_begun_to_leave_is_not_replaced() -> None:
    outbox, _ = box()
    outbox.replace("m", b"[state 1]")
    outbox.sent(outbox.next_bytes(), 3)
    outbox.replace("m", b"[state 2]")
    assert drain(outbox) == b"ate 1][state 2]"


def test_a_cleared_slot_sends_nothing() -> None:
    outbox, line = box()
    outbox.replace("m", b"[state]")
    outbox.clear_slot("m")
    outbox.clear_slot("m")
    outbox.clear_slot("never")
    assert outbox.queued_bytes == 0
    assert drain(outbox) == b""
    outbox.push(b"x")
    assert line.dirty == 2


def test_over_the_bound_the_transport_is_told_and_the_frame_is_dropped() -> None:
    outbox, line = box(limit=10)
    outbox.push(b"x" * 10)
    outbox.push(b"y")
    outbox.replace("m", b"z")
    assert line.overflows == 2
    assert drain(outbox) == b"x" * 10


def test_a_replaced_frame_gives_its_bytes_back() -> None:
    outbox, line = box(limit=10)
    for _ in range(1000):
        outbox.replace("m", b"x" * 10)
    assert line.overflows == 0
    assert outbox.queued_bytes == 10


def test_replaced_frames_leave_no_gaps_that_grow() -> None:
    outbox, _ = box()
    outbox.push(b"first")
    for number in range(100_000):
        outbox.replace(f"m{number % 3}", b"%d." % number)
    assert len(outbox.frames) < 200
    assert drain(outbox) == b"first99997.99998.99999."


def test_a_backlog_is_taken_in_parts_so_that_the_rest_stays_conflated() -> None:
    outbox, _ = box(limit=10 * SEND_BYTES)
    frame = b"x" * 10_000
    for _ in range(50):
        outbox.push(frame)
    outbox.replace("m", b"[old]")
    data = outbox.next_bytes()
    assert 0 < len(data) <= SEND_BYTES
    outbox.sent(data, len(data))
    outbox.replace("m", b"[new]")
    assert drain(outbox) == b"x" * (500_000 - len(data)) + b"[new]"


def test_one_frame_larger_than_a_send_goes_whole() -> None:
    outbox, _ = box(limit=10 * SEND_BYTES)
    outbox.push(b"x" * (2 * SEND_BYTES))
    outbox.push(b"y")
    assert drain(outbox) == b"x" * (2 * SEND_BYTES) + b"y"


@pytest.mark.parametrize("drop", [True, False])
def test_nothing_follows_the_last_frame(drop: bool) -> None:
    outbox, line = box(limit=20)
    outbox.push(b"abc")
    outbox.sent(outbox.next_bytes(), 1)
    outbox.push(b"d" * 18)  # full: the last frame goes all the same
    outbox.finish(b"[close]", drop=drop)
    outbox.finish(b"[again]", drop=True)
    assert outbox.closed
    outbox.push(b"late")
    outbox.replace("m", b"late")
    assert line.overflows == 0
    assert drain(outbox) == b"bc" + (b"" if drop else b"d" * 18) + b"[close]"
    assert line.sent_alls == 1


def test_an_abandoned_outbox_keeps_nothing_of_its_connection() -> None:
    outbox = Outbox(MSGPACK, 1_000, Line(), line := Line())
    gone = weakref.ref(line)
    del line
    assert gone() is not None
    outbox.abandon()
    assert gone() is None
    with pytest.raises(BrokenPipeError):
        outbox.send(b"x")


def test_an_abandoned_outbox_takes_nothing_and_tells_nobody() -> None:
    outbox, line = box()
    outbox.push(b"abc")
    outbox.abandon()
    outbox.push(b"d")
    assert drain(outbox) == b""
    assert (outbox.queued_bytes, outbox.closed) == (0, True)
    assert (line.overflows, line.sent_alls) == (0, 0)


def test_who_waits_for_room_is_told_once_it_is_there() -> None:
    outbox, _ = box(1000)
    told: list[int] = []
    outbox.when_drained(lambda: told.append(outbox.queued_bytes))
    assert told == [0]
    outbox.push(b"x" * 400)
    assert outbox.takes(100)
    assert not outbox.takes(101)
    outbox.when_drained(lambda: told.append(outbox.queued_bytes))
    for count in (200, 74):
        outbox.sent(outbox.next_bytes(), count)
        assert not outbox.idle()
        assert told == [0]
    outbox.sent(outbox.next_bytes(), 76)
    assert not outbox.idle()
    assert told == [0, 50]


def test_who_waits_for_room_is_told_by_a_send_that_takes_all_at_once() -> None:
    outbox, line = box(1000)
    told: list[int] = []
    outbox.push(b"x" * 400)
    outbox.when_drained(lambda: told.append(outbox.queued_bytes))
    if not outbox.send_at_once():
        outbox.sent(data := outbox.next_bytes(), len(data))
        assert outbox.idle()
    assert told == [0]
    outbox.push(b"more")
    assert outbox.send_at_once() == 4
    assert line.errors == []


@pytest.mark.parametrize("end", ["abandon", "drop"])
def test_who_waits_for_room_is_told_when_the_connection_ends(end: str) -> None:
    outbox, _ = box(1000)
    told: list[bool] = []
    outbox.push(b"x" * 900)
    outbox.when_drained(lambda: told.append(outbox.closed))
    if end == "drop":
        outbox.finish(b"close", drop=True)
        drain(outbox)
    else:
        outbox.abandon()
    assert told == [True]


def test_what_is_larger_than_the_room_there_ever_is_goes_in_alone() -> None:
    outbox, _ = box(1000)
    outbox.push(b"x" * 100)
    assert outbox.takes(800)
    outbox.push(b"x" * 100)
    assert not outbox.takes(800)


class OutboxMachine(RuleBasedStateMachine):
    """The outbox beside a plain list of (slot, frame), of which the socket got the beginning."""

    LIMIT = 40

    def __init__(self) -> None:
        super().__init__()
        self.outbox, self.line = box(self.LIMIT)
        self.waiting: list[tuple[str | None, bytes]] = []
        self.leaving = b""  # taken, not yet accepted by the socket
        self.got = b""
        self.expected = b""
        self.number = 0

    def frame(self, size: int) -> bytes:
        self.number += 1
        return bytes([self.number % 256]) * size

    def queued(self) -> int:
        return len(self.leaving) + sum(len(frame) for _, frame in self.waiting)

    @rule(size=st.integers(1, 15), how=st.sampled_from(["at once", "soon", "to all"]))
    def push(self, size: int, how: str) -> None:
        frame = self.frame(size)
        overflows = self.line.overflows
        if fits := self.queued() + size <= self.LIMIT:
            self.waiting.append((None, frame))
        if how == "at once":
            self.outbox.push(frame)
        elif how == "soon":
            self.outbox.push_soon(frame)
        else:
            push_soon_to_all(frame, [self.outbox])
        assert self.line.overflows == overflows + (not fits)

    @rule(slot=st.sampled_from("ab"), size=st.integers(1, 15))
    def replace(self, slot: str, size: int) -> None:
        frame = self.frame(size)
        self.waiting = [one for one in self.waiting if one[0] != slot]
        if self.queued() + size <= self.LIMIT:
            self.waiting.append((slot, frame))
        self.outbox.replace(slot, frame)

    @rule(slot=st.sampled_from("ab"))
    def clear(self, slot: str) -> None:
        self.waiting = [one for one in self.waiting if one[0] != slot]
        self.outbox.clear_slot(slot)

    @precondition(lambda self: self.queued())
    @rule(count=st.integers(0, 50))
    def send(self, count: int) -> None:
        data = bytes(self.outbox.next_bytes())
        if not self.leaving:
            self.leaving = b"".join(frame for _, frame in self.waiting)
            self.waiting = []
        assert data == self.leaving
        took = min(count, len(data))
        self.outbox.sent(data, took)
        self.leaving = data[took:]
        assert self.outbox.idle() == (not self.queued())

    @invariant()
    def is_marked_if_it_has_something(self) -> None:
        assert not self.queued() or self.outbox.waiting is not IDLE

    @invariant()
    def counts_its_bytes(self) -> None:
        assert self.outbox.queued_bytes == self.queued() <= self.LIMIT


TestOutboxAsAModel = OutboxMachine.TestCase
