"""The client's arithmetic compared with a model of a crashing room and a breaking connection."""

from __future__ import annotations

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from protocol.messages.envelope import Position
from protocol.messages.match import MatchEvent, MatchStatePush
from protocol.messages.room import Message
from protocol.remote.positions import Gap, after_restart, recover, take, widen


def said(offset: int, what: int = 0) -> Message:
    return Message(offset, "u1", "ada", f"{what}", what)


def test_a_push_in_order_is_taken_and_moves_the_position() -> None:
    assert take(Position(1, 4), 5) == (Position(1, 5), None)


def test_a_push_that_was_taken_is_not_taken_again() -> None:
    assert take(Position(1, 4), 4) is None
    assert take(Position(1, 4), 1) is None


def test_a_push_beyond_the_next_names_the_hole() -> None:
    assert take(Position(1, 4), 7) == (Position(1, 7), Gap("hole", 5, 6))


def test_a_restart_that_goes_back_says_what_is_void() -> None:
    assert after_restart(Position(1, 9), 2, 7) == (Position(2, 7), Gap("void", 8, 9))
    assert after_restart(Position(1, 9), 2, 9) == (Position(2, 9), None)


def test_too_long_away_is_a_gap_before_the_last_messages() -> None:
    now, updates = recover(Position(1, 3), Position(2, 9), [said(8), said(9)], recovered=False)
    assert now == Position(2, 9)
    assert updates == [Gap("away", 4, 7), said(8), said(9)]


def test_a_rewritten_message_is_yielded_again_and_a_kept_one_is_not() -> None:
    seen = [said(7, 1), said(8, 2), said(9, 3)]
    state = [said(7, 1), said(8, 20), said(9, 30), said(10, 40)]
    _, updates = recover(Position(1, 9), Position(2, 10), state, recovered=False, seen=seen)
    assert updates == [Gap("void", 8, 9), said(8, 20), said(9, 30), said(10, 40)]


def test_a_state_that_holds_our_last_message_leaves_no_gap() -> None:
    seen = [said(8, 1), said(9, 2)]
    state = [said(9, 2), said(10, 3)]
    _, updates = recover(Position(1, 9), Position(5, 10), state, recovered=False, seen=seen)
    assert updates == [said(10, 3)]


def test_nothing_new_on_a_position_that_is_void_still_says_so() -> None:
    assert recover(Position(1, 9), Position(2, 7), [], recovered=False)[1] == [Gap("void", 8, 9)]


def test_a_recovery_that_leaves_some_out_is_a_hole() -> None:
    _, updates = recover(Position(1, 3), Position(1, 6), [said(5), said(6)], recovered=True)
    assert updates == [Gap("hole", 4, 4), said(5), said(6)]


def test_a_room_first_seen_empty_has_nothing_void() -> None:
    _, updates = recover(Position(1, 0), Position(4, 2), [said(1), said(2)], recovered=False)
    assert updates == [said(1), said(2)]


def test_dropped_messages_and_gaps_widen_one_gap_and_states_do_not() -> None:
    gap = widen(None, said(4))
    gap = widen(gap, MatchStatePush(match="m", offset=9, tick=1, state=None, acks={}))
    gap = widen(gap, MatchEvent(match="m", offset=5, kind="x"))
    assert gap == Gap("behind", 4, 5)
    assert widen(gap, Gap("away", 6, 8)) == Gap("behind", 4, 8)


@given(st.integers(0, 50), st.lists(st.integers(1, 60)))
def test_whatever_comes_offsets_are_taken_in_growing_order(start: int, offsets: list[int]) -> None:
    at = Position(1, start)
    accounted = set(range(1, start + 1))
    for offset in offsets:
        taken = take(at, offset)
        if taken is None:
            assert offset in accounted
            continue
        at, hole = taken
        if hole is not None:
            accounted |= set(range(hole.first, hole.last + 1))
        assert offset not in accounted
        accounted.add(offset)
        assert accounted == set(range(1, at.offset + 1))


class ARoomAndItsReader(RuleBasedStateMachine):
    """A room that says things, crashes, and forgets what was not durable; a client that is cut
    off, resumes, and keeps what it was told. The room's rules are PROTOCOL.md's."""

    @initialize(kept=st.integers(0, 6))
    def open(self, kept: int) -> None:
        self.kept = kept  # messages the room can bridge
        self.epoch = 1
        self.log: list[Message] = []
        self.durable = 0
        self.bases: list[tuple[int, int]] = []  # (epoch, offset it began after)
        self.counter = 0
        self.connected = True
        # The client:
        self.at = Position(1, 0)
        self.seen: deque[Message] = deque(maxlen=256)
        self.told: dict[int, Message | Gap] = {}
        self.gaps: list[Gap] = []

    def tell(self, updates: list[Message | Gap]) -> None:
        for update in updates:
            if isinstance(update, Gap):
                self.gaps.append(update)
                for offset in range(update.first, update.last + 1):
                    self.told[offset] = update
            else:
                before = self.told.get(update.offset)
                assert before is None or isinstance(before, Gap), "yielded twice"
                self.told[update.offset] = update
                self.seen.append(update)

    @rule()
    def say(self) -> None:
        self.counter += 1
        message = said(len(self.log) + 1, self.counter)
        self.log.append(message)
        if self.connected:
            taken = take(self.at, message.offset)
            assert taken is not None
            self.at, hole = taken
            assert hole is None
            self.tell([message])

    @rule()
    def commit(self) -> None:
        self.durable = len(self.log)

    @rule()
    def crash(self) -> None:
        del self.log[self.durable :]
        self.epoch += 1
        self.bases.append((self.epoch, self.durable))
        if self.connected:
            self.at, gap = after_restart(self.at, self.epoch, self.durable)
            self.tell([gap] if gap is not None else [])

    @precondition(lambda self: self.connected)
    @rule()
    def cut(self) -> None:
        self.connected = False

    @precondition(lambda self: not self.connected)
    @rule()
    def resume(self) -> None:
        epoch, offset = self.at.epoch, self.at.offset
        void = any(newer > epoch and base < offset for newer, base in self.bases)
        missed = self.log[offset:]
        recovered = not void and len(missed) <= self.kept
        last = self.log[-self.kept :] if self.kept else []
        self.at, updates = recover(
            self.at,
            Position(self.epoch, len(self.log)),
            missed if recovered else last,
            recovered=recovered,
            seen=self.seen,
        )
        self.tell(updates)
        self.connected = True

    @invariant()
    def what_was_told_is_the_room_or_a_gap(self) -> None:
        if not self.connected:
            return
        assert self.at == Position(self.epoch, len(self.log))
        for message in self.log:
            told = self.told.get(message.offset)
            if told == message:
                continue
            # Skipped, and said so; or rewritten while away, at or below where one stood: that
            # cannot be known of a message that the answer does not hold, but then it holds less
            # than was missed, and a gap above it says so.
            assert isinstance(told, Gap) or self.a_gap_was_told_above(message.offset)

    def a_gap_was_told_above(self, offset: int) -> bool:
        return any(gap.last >= offset for gap in self.gaps)


ARoomAndItsReader.TestCase.settings = settings(
    max_examples=100, stateful_step_count=25, deadline=None
)
TestARoomAndItsReader = ARoomAndItsReader.TestCase
