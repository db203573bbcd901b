from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from actors.matches.rules.record import (
    STARTS,
    AnyEvent,
    Crashed,
    Created,
    Ended,
    Happened,
    Joined,
    Left,
    Moved,
    Record,
)

Steps = st.lists(st.sampled_from(["say", "move", "crash"]), max_size=60)


def new_record(**settings: Any) -> Record:
    record = Record(**settings)
    record.apply(Created("arena", {}, 1, 0), 1)
    record.apply(Joined("ada", "Ada", 0), 1)
    return record


def event_of(step: str, number: int) -> AnyEvent:
    match step:
        case "say":
            return Happened("scored", "ada", number, number)
        case "move":
            return Moved("ada", number + 1, {}, number)
        case _:
            return Crashed(number, "it broke")


def test_joins_leaves_and_what_the_game_says_count_and_the_rest_does_not() -> None:
    record = new_record()
    record.apply(Moved("ada", 1, {}, 1), 1)
    record.apply(Happened("scored", "ada", {"points": 1}, 3), 1)
    record.apply(Crashed(4, "it broke"), 1)
    record.apply(Left("ada", 5), 1)
    record.apply(Ended({"winner": None}, "finished", 6), 1)
    assert [(one.offset, one.kind) for one in record.said] == [
        (1, "joined"),
        (2, "scored"),
        (3, "left"),
    ]
    assert record.offset == 4
    assert record.places == {}


@given(Steps, st.integers(0, 60))
def test_a_restored_record_goes_on_like_the_first(steps: list[str], cut: int) -> None:
    record, other = new_record(keep=8), None
    for number, step in enumerate(steps):
        if number == cut:
            packed = msgspec.msgpack.encode(record)
            other = msgspec.convert(msgspec.msgpack.decode(packed), Record, strict=False)
        for one in (record, other):
            if one is not None:
                one.apply(event_of(step, number), 1)
    assert other is None or other == record


@given(Steps, st.integers(0, 70), st.integers(1, 20))
def test_a_true_position_gets_exactly_what_it_missed_or_nothing(
    steps: list[str], offset: int, keep: int
) -> None:
    record = new_record(keep=keep)
    for number, step in enumerate(steps):
        record.apply(event_of(step, number), 1)
    missed = record.missed(1, offset)
    if missed is None:
        assert offset > record.offset or record.offset - offset > keep
    else:
        assert [one.offset for one in missed] == list(range(offset + 1, record.offset + 1))


Incarnation = st.tuples(st.integers(0, 4), st.integers(0, 4))


@given(st.lists(Incarnation, min_size=1, max_size=STARTS), st.data())
def test_a_position_that_a_crash_made_void_is_never_taken_for_true(
    incarnations: list[tuple[int, int]], data: st.DataObject
) -> None:
    record = Record()
    durable: list[tuple[int, str]] = []  # what the log holds: (offset, what)
    seen: list[tuple[int, list[tuple[int, str]]]] = []  # (epoch, all that a client saw)
    for epoch, (kept, lost) in enumerate(incarnations, start=1):
        pushed = list(durable)
        for number in range(kept + lost):
            what = f"{epoch}.{number}"
            pushed.append((len(pushed) + 1, what))
            seen.append((epoch, list(pushed)))
            if number < kept:  # the rest was pushed, and lost with the incarnation
                record.apply(Happened(what, None, None, 0), epoch)
                durable.append(pushed[-1])
    if not seen:
        return
    epoch, pushes = data.draw(st.sampled_from(seen))
    missed = record.missed(epoch, len(pushes))
    if missed is not None:
        assert pushes + [(one.offset, one.kind) for one in missed] == durable


def test_the_end_counts_and_is_told_apart() -> None:
    record = new_record()
    record.apply(Ended(None, "failed", 3), 1)
    assert record.missed(1, 0) == record.said
    assert record.missed(1, 1) == []
    assert record.missed(1, 2) == []
    assert record.missed(1, 3) is None


def test_a_position_older_than_the_incarnations_remembered_is_not_taken_for_true() -> None:
    record = Record()
    for epoch in range(1, STARTS + 2):
        record.apply(Happened("x", None, None, 0), epoch)
    assert record.missed(1, 1) is None
    assert record.missed(2, 2) is not None


def test_crashes_in_a_row_are_counted_until_the_match_got_past_them() -> None:
    record = new_record(past_crash_ticks=20)
    counts = []
    for tick in (100, 100, 110, 131, 131):
        record.apply(Crashed(tick, "it broke"), 1)
        counts.append(record.crashes)
    assert counts == [1, 2, 3, 1, 2]


def test_answers_are_remembered_up_to_a_bound() -> None:
    record = new_record(keep_answers=8)
    for seq in range(1, 13):
        record.apply(Moved("ada", seq, {"go": seq}, seq * 10), 1)
    place = record.places["ada"]
    assert list(place.answers) == list(range(5, 13))
    assert place.answered(12, {"go": 12}) == 120
    assert place.answered(12, {"go": 11}) is None
    assert place.answered(4, {"go": 4}) is None
    assert record.acks() == {"ada": 12}
    assert record.names() == {"ada": "Ada"}


Inputs = st.lists(
    st.tuples(
        st.integers(1, 12),  # seq
        st.sampled_from(["left", "right"]),
        st.sampled_from(["taken", "rejected", "busy", "recovers"]),
    ),
    max_size=60,
)


@given(Inputs, st.integers(1, 4))
def test_whatever_is_sent_an_input_acts_once_and_no_answer_is_another_inputs(
    sent: list[tuple[int, str, str]], keep: int
) -> None:
    record = new_record(keep_answers=keep)
    acted: dict[int, tuple[str, int]] = {}
    refused: set[tuple[int, str]] = set()
    for tick, (seq, value, fate) in enumerate(sent, start=1):
        place = record.places["ada"]
        if fate == "recovers":  # from events, which hold what was taken and no refusal
            record = new_record(keep_answers=keep)
            for one, (what, at) in acted.items():
                record.apply(Moved("ada", one, what, at), 2)
        elif seq <= place.seq:
            said = place.answered(seq, value)
            assert said is None or (seq, value) in refused or acted[seq] == (value, said)
        elif fate == "taken":
            assert seq not in acted
            acted[seq] = (value, tick)
            record.apply(Moved("ada", seq, value, tick), 1)
        elif fate == "rejected":
            refused.add((seq, value))
            record.answer("ada", seq, value, "rejected")
        assert len(record.places["ada"].answers) <= keep
