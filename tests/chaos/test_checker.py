"""Tests of the checker itself: a true history passes, and each kind of false one is found."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.runtime.snapshots import SnapshotSettings
from persistence import RedisSettings
from tests.chaos.checker import RULES, WRITTEN_WITHIN_S, check
from tests.chaos.history import (
    History,
    Input,
    Kept,
    Made,
    Mingled,
    Placed,
    Row,
    Saw,
    Send,
    State,
    TieRow,
    Told,
    Write,
)


def _true_history(length: int = 6) -> History:
    """One room, one sender, one reader that breaks after half of it and recovers the rest."""
    history = History(tick_hz={"m": 20.0}, snapshot_interval_s=1.0)
    history.stream.append(Placed("bob", "lobby", "joined", 1, 0))
    half = length // 2
    for n in range(1, length + 1):
        body, key = f"b{n}", f"k{n}"
        history.sends.append(Send("ada", "u-ada", "lobby", body, key, n, n + 0.5, "ok", offset=n))
        history.log.append(Row("room", "lobby", n, 1 if n <= half else 2, "u-ada", body, key))
        if n <= half:
            history.stream.append(Saw("bob", "lobby", n, body))
    history.told = [Told("ada", "u-bob", note, "ok") for note in (1, 1, 2)]
    history.log += [Row("user", "u-bob", note, 1, body=f"{note}") for note in (1, 2)]
    history.stream += [
        Placed("bob", "user:u-bob", "joined", 1, 1, ((1, "1"),)),
        Saw("bob", "user:u-bob", 2, "2"),
    ]
    missed = tuple((n, f"b{n}") for n in range(half + 1, length + 1))
    history.stream.append(Placed("bob", "lobby", "recovered", 2, length, missed))
    history.states = [State("bob", "m", tick, f"s{tick}", tick / 20) for tick in range(1, 40)]
    history.states.append(State("bob", "m", 25, "s25", 3.0, after_restart=True))
    history.states.append(State("bob", "m", 26, "other", 3.05))
    history.inputs = [
        Input("ada", "u-ada", "m", 1, "ok", tick=4),
        Input("ada", "u-ada", "m", 2, "error", code="rejected"),
        Input("ada", "u-ada", "m", 1, "ok", tick=4),
    ]
    history.log.append(Row("match", "m", 1, 1, "u-ada", "1"))
    history.made = [Made("ada", "u-ada", "k", "m"), Made("ada", "u-ada", "k", "m")]
    history.writes = [_write(1, 4), _write(1, 4, at=1.3), _write(2, 7)]
    history.kept = [Kept("u-ada", 2, 7)]
    history.mingled = [
        Mingled("ada", "u-ada", "u-cyd", "block.add", 1, 2, "ok"),
        Mingled("ada", "u-ada", "u-dan", "block.add", 3, 4, "ok"),
        Mingled("ada", "u-ada", "u-dan", "block.remove", 5, 6, "ok"),
    ]
    history.ties = [
        TieRow("u-ada", "u-bob", "friend"),
        TieRow("u-bob", "u-ada", "friend"),
        TieRow("u-cyd", "u-bob", "requested"),
        TieRow("u-bob", "u-cyd", "asked"),
        TieRow("u-ada", "u-cyd", "blocked"),
    ]
    return history


def _write(step: int, version: int, at: float | None = None) -> Write:
    called = float(step) if at is None else at
    key = f"step-{step}"
    return Write("ada", "u-ada", step, key, called, called + 0.2, "ok", version=version)


_LOST = Placed("bob", "lobby", "lost", 0, 0)


def _internal(body: str) -> Send:
    """A send answered with `internal`, after which it may have acted, as the protocol says."""
    return Send("ada", "u-ada", "lobby", body, None, 90, 91, "error", code="internal")


def _drop_row(history: History) -> None:
    history.log.remove(next(row for row in history.log if row.seq == 2))


def _fork(history: History) -> None:
    history.log[1] = msgspec.structs.replace(history.log[1], epoch=9)


def _lose_the_last(history: History) -> None:
    history.log.remove(next(row for row in history.log if row.seq == 6))


def _other_body(history: History) -> None:
    history.log[3] = msgspec.structs.replace(history.log[3], body="another")


def _act_twice(history: History) -> None:
    history.log.append(Row("room", "lobby", 7, 2, "u-ada", "b3", None))


def _key_logged_twice(history: History) -> None:
    history.log.append(Row("room", "lobby", 7, 2, "u-ada", "new", "k3"))


def _key_answered_twice(history: History) -> None:
    history.sends.append(msgspec.structs.replace(history.sends[2], offset=5))


def _refused_acts(history: History) -> None:
    history.sends[5] = msgspec.structs.replace(history.sends[5], outcome="error", code="too_long")


def _out_of_order(history: History) -> None:
    history.sends[0] = msgspec.structs.replace(history.sends[0], called_at=50, answered_at=51)


def _push_twice(history: History) -> None:
    history.stream.insert(3, history.stream[2])


def _push_missing(history: History) -> None:
    del history.stream[2]


def _recovery_misses(history: History) -> None:
    placed = history.stream[-1]
    assert isinstance(placed, Placed)
    history.stream[-1] = msgspec.structs.replace(placed, messages=placed.messages[1:])


def _phantom(history: History) -> None:
    seen = history.stream[3]
    assert isinstance(seen, Saw)
    history.stream[3] = msgspec.structs.replace(seen, body="never committed")


def _false_state(history: History) -> None:
    history.stream.append(Placed("bob", "lobby", "reset", 2, 6, ((4, "b4"), (6, "b6"))))


def _untrue_reset(history: History) -> None:
    history.stream.append(Placed("bob", "lobby", "reset", 2, 6, ((5, "b5"), (6, "wrong"))))


def _restart_skips(history: History) -> None:
    history.stream.append(Placed("bob", "lobby", "restarted", 3, 8))


def _acts_twice_after_internal(history: History) -> None:
    history.sends.append(_internal("b7"))
    history.log += [Row("room", "lobby", n, 2, "u-ada", "b7") for n in (7, 8)]


def _refused_acts_beside_an_internal(history: History) -> None:
    history.sends.append(_internal("b7"))
    _refused_acts(history)


def _pushed_after_it_was_lost(history: History) -> None:
    history.log.append(Row("room", "lobby", 7, 2, "u-ada", "b7"))
    history.stream += [_LOST, Saw("bob", "lobby", 7, "b7")]


def _recovers_what_was_lost(history: History) -> None:
    history.stream += [_LOST, Placed("bob", "lobby", "recovered", 3, 6)]


def _skips_after_it_was_lost(history: History) -> None:
    history.log += [Row("room", "lobby", n, 2, "u-ada", f"b{n}") for n in (7, 8)]
    history.stream += [
        _LOST,
        Placed("bob", "lobby", "joined", 3, 6, ((6, "b6"),)),
        Saw("bob", "lobby", 8, "b8"),
    ]


def _joined_anew_to_what_never_was(history: History) -> None:
    history.stream += [_LOST, Placed("bob", "lobby", "joined", 3, 6, ((6, "made up"),))]


def _too_old(history: History) -> None:
    history.snapshot_interval_s = 0.1


def _never_been(history: History) -> None:
    history.states[-2] = msgspec.structs.replace(history.states[-2], digest="made up")


def _far_back_in_no_time(history: History) -> None:
    # The match went back by a hundred ticks, five seconds of its age, within a tenth of a second.
    history.states.append(State("bob", "m", 200, "s200", 10.0))
    history.states.append(State("bob", "m", 100, "s100", 10.1, after_restart=True))


def _set_back(history: History) -> None:
    """A match ran for ten seconds; a server ended, and set it back by five."""
    history.states += [State("bob", "m", 200 + n, f"s{200 + n}", 10 + n / 20) for n in range(201)]
    history.states.append(State("bob", "m", 300, "s300", 21.0, after_restart=True))
    history.servers_ended = [20.0]


def _set_back_while_valkey_was_there(history: History) -> None:
    _set_back(history)
    history.unwritten = [(11.0, 14.0), (20.5, 22.0)]


def _set_back_further_than_valkey_was_away(history: History) -> None:
    _set_back(history)
    history.unwritten = [(18.0, 19.5)]


def _set_back_long_after_valkey_was_back(history: History) -> None:
    _set_back(history)
    history.unwritten = [(15.0, 16.0)]


def _set_back_by_a_crash_while_valkey_was_away(history: History) -> None:
    _set_back(history)
    history.unwritten = [(15.5, 20.0)]
    history.servers_ended = [5.0]


def _on_the_way_that_was_cut_off(history: History) -> None:
    history.states.append(State("bob", "m", 26, "s26", 4.0, after_restart=True))


def _input_gone(history: History) -> None:
    del history.log[-1]


def _input_twice(history: History) -> None:
    history.log.append(Row("match", "m", 2, 1, "u-ada", "1"))


def _passed_over_and_acknowledged(history: History) -> None:
    history.inputs.append(Input("ada", "u-ada", "m", 2, "ok", tick=9))


def _answered_as_another(history: History) -> None:
    history.inputs.append(Input("ada", "u-ada", "m", 1, "ok", tick=5))


def _rejected_acts(history: History) -> None:
    history.log.append(Row("match", "m", 2, 1, "u-ada", "2"))


def _match_gone(history: History) -> None:
    history.made.append(Made("bob", "u-bob", "k", "other"))


def _created_twice(history: History) -> None:
    history.made.append(Made("ada", "u-ada", "k", "other"))


def _object_gone(history: History) -> None:
    history.kept.clear()


def _object_of_before(history: History) -> None:
    history.kept = [Kept("u-ada", 1, 4)]


def _object_of_another_write(history: History) -> None:
    history.kept = [Kept("u-ada", 3, 7)]


def _version_falls(history: History) -> None:
    history.writes.append(_write(3, 5))


def _write_acts_twice(history: History) -> None:
    history.writes.append(_write(2, 8, at=2.5))
    history.kept = [Kept("u-ada", 2, 8)]


def _write_was_forgotten(history: History) -> None:
    refused = msgspec.structs.replace(_write(3, 0), outcome="error", code="version_conflict")
    history.writes.append(refused)


def _entry_gone(history: History) -> None:
    history.log = [row for row in history.log if (row.kind, row.body) != ("user", "2")]


def _entry_twice(history: History) -> None:
    history.log.append(Row("user", "u-bob", 3, 1, body="2"))


def _entry_skipped(history: History) -> None:
    history.log.append(Row("user", "u-bob", 3, 1, body="3"))
    history.stream.remove(Saw("bob", "user:u-bob", 2, "2"))
    history.stream.append(Saw("bob", "user:u-bob", 3, "3"))


def _entry_of_nobody(history: History) -> None:
    history.stream.append(Saw("bob", "user:u-bob", 3, "3"))


def _one_side_of_a_tie(history: History) -> None:
    history.ties.remove(TieRow("u-bob", "u-ada", "friend"))


def _two_sides_that_differ(history: History) -> None:
    history.ties.remove(TieRow("u-bob", "u-cyd", "asked"))
    history.ties.append(TieRow("u-bob", "u-cyd", "friend"))


def _friend_of_a_blocker(history: History) -> None:
    history.ties.append(TieRow("u-bob", "u-ada", "blocked"))


def _block_gone(history: History) -> None:
    history.ties.remove(TieRow("u-ada", "u-cyd", "blocked"))


def _block_that_was_taken_back(history: History) -> None:
    history.ties.append(TieRow("u-ada", "u-dan", "blocked"))


LIES: list[tuple[str, Callable[[History], None]]] = [
    ("log_has_no_gap", _drop_row),
    ("log_has_one_writer_at_a_time", _fork),
    ("acknowledged_sends_are_kept", _lose_the_last),
    ("acknowledged_sends_are_kept", _other_body),
    ("no_send_acts_twice", _act_twice),
    ("no_key_acts_twice", _key_logged_twice),
    ("no_key_acts_twice", _key_answered_twice),
    ("refused_sends_do_not_act", _refused_acts),
    ("refused_sends_do_not_act", _refused_acts_beside_an_internal),
    ("no_send_acts_twice", _acts_twice_after_internal),
    ("order_follows_real_time", _out_of_order),
    ("streams_are_complete", _push_twice),
    ("streams_are_complete", _push_missing),
    ("streams_are_complete", _recovery_misses),
    ("streams_are_complete", _phantom),
    ("streams_are_complete", _false_state),
    ("streams_are_complete", _untrue_reset),
    ("streams_are_complete", _restart_skips),
    ("streams_are_complete", _pushed_after_it_was_lost),
    ("streams_are_complete", _recovers_what_was_lost),
    ("streams_are_complete", _skips_after_it_was_lost),
    ("streams_are_complete", _joined_anew_to_what_never_was),
    ("match_states_are_true", _too_old),
    ("match_states_are_true", _never_been),
    ("match_states_are_true", _far_back_in_no_time),
    ("match_states_are_true", _set_back_while_valkey_was_there),
    ("match_states_are_true", _set_back_further_than_valkey_was_away),
    ("match_states_are_true", _set_back_long_after_valkey_was_back),
    ("match_states_are_true", _set_back_by_a_crash_while_valkey_was_away),
    ("match_states_are_true", _on_the_way_that_was_cut_off),
    ("acknowledged_inputs_are_kept", _input_gone),
    ("acknowledged_inputs_are_kept", _input_twice),
    ("acknowledged_inputs_are_kept", _passed_over_and_acknowledged),
    ("no_input_is_answered_in_two_ways", _answered_as_another),
    ("rejected_inputs_do_not_act", _rejected_acts),
    ("created_matches_are_there", _match_gone),
    ("no_create_acts_twice", _created_twice),
    ("acknowledged_entries_are_kept", _entry_gone),
    ("no_entry_is_there_twice", _entry_twice),
    ("streams_are_complete", _entry_skipped),
    ("streams_are_complete", _entry_of_nobody),
    ("acknowledged_writes_are_kept", _object_gone),
    ("acknowledged_writes_are_kept", _object_of_before),
    ("acknowledged_writes_are_kept", _object_of_another_write),
    ("versions_only_grow", _version_falls),
    ("no_write_acts_twice", _write_acts_twice),
    ("no_write_meets_another_version", _write_was_forgotten),
    ("ties_are_symmetric", _one_side_of_a_tie),
    ("ties_are_symmetric", _two_sides_that_differ),
    ("no_one_befriends_a_blocker", _friend_of_a_blocker),
    ("acknowledged_blocks_are_kept", _block_gone),
    ("acknowledged_blocks_are_kept", _block_that_was_taken_back),
]


@pytest.mark.parametrize(("rule", "lie"), LIES, ids=[lie.__name__[1:] for _, lie in LIES])
def test_a_history_that_lies_is_caught_by_the_rule_it_breaks(
    rule: str, lie: Callable[[History], None]
) -> None:
    history = _true_history()
    lie(history)
    assert rule in {violation.rule for violation in check(history)}


def test_every_rule_has_a_lie_that_it_catches() -> None:
    assert {rule.__name__ for rule in RULES} == {rule for rule, _ in LIES}


@given(st.integers(min_value=0, max_value=30))
def test_a_true_history_of_any_length_passes(length: int) -> None:
    history = _true_history(max(length, 1))
    assert check(history) == []


def test_a_message_that_a_restart_made_void_is_no_lie() -> None:
    history = _true_history()
    history.stream += [
        Saw("bob", "lobby", 7, "pushed before its commit, lost with the crash"),
        Placed("bob", "lobby", "restarted", 3, 6),
        Saw("bob", "lobby", 7, "what came instead"),
    ]
    history.log.append(Row("room", "lobby", 7, 3, "u-ada", "what came instead"))
    assert check(history) == []


def test_a_send_without_an_answer_may_be_there_or_not() -> None:
    history = _true_history()
    history.sends.append(Send("ada", "u-ada", "lobby", "maybe", "k", 90, 95, "none"))
    assert check(history) == []
    history.log.append(Row("room", "lobby", 7, 3, "u-ada", "maybe", "k"))
    assert check(history) == []


def test_a_retry_that_is_answered_with_the_first_offset_is_no_lie() -> None:
    history = _true_history()
    history.sends.append(
        msgspec.structs.replace(history.sends[2], client="ada-2", called_at=80, answered_at=81)
    )
    assert check(history) == []


@pytest.mark.parametrize("acted", [False, True])
def test_an_input_that_met_an_internal_error_may_be_there_or_not(acted: bool) -> None:
    history = _true_history()
    for code in ("internal", "seq_too_old"):
        history.inputs.append(Input("ada", "u-ada", "m", 3, "error", code=code))
    if acted:
        history.log.append(Row("match", "m", 2, 1, "u-ada", "3"))
    assert check(history) == []


@pytest.mark.parametrize("acted", [False, True])
def test_a_send_that_met_an_internal_error_may_be_there_or_not(acted: bool) -> None:
    history = _true_history()
    history.sends.append(_internal("b7"))
    if acted:
        history.log.append(Row("room", "lobby", 7, 2, "u-ada", "b7"))
    assert check(history) == []


def test_a_send_refused_after_an_internal_error_may_be_there() -> None:
    history = _true_history()
    refused = msgspec.structs.replace(_internal("b7"), code="not_joined", called_at=95)
    history.sends += [_internal("b7"), refused]
    history.log.append(Row("room", "lobby", 7, 2, "u-ada", "b7"))
    assert check(history) == []


def test_a_lost_topic_ends_a_stream_and_the_next_join_starts_another() -> None:
    history = _true_history()
    history.stream += [
        Saw("bob", "lobby", 7, "pushed before its commit, lost with the room"),
        _LOST,
        Placed("bob", "lobby", "joined", 3, 6, ((5, "b5"), (6, "b6"))),
        Saw("bob", "lobby", 7, "what came instead"),
    ]
    history.log.append(Row("room", "lobby", 7, 3, "u-ada", "what came instead"))
    assert check(history) == []


def test_a_client_that_never_joined_again_has_missed_nothing() -> None:
    history = _true_history()
    history.stream.append(_LOST)
    history.log.append(Row("room", "lobby", 7, 2, "u-ada", "b7"))
    assert check(history) == []


def test_a_write_that_was_not_answered_may_be_there() -> None:
    history = _true_history()
    history.kept = [Kept("u-ada", 3, 9)]
    assert check(history) == []


def test_a_match_that_was_away_for_long_is_judged_by_its_own_age() -> None:
    history = _true_history()
    # It is back ten minutes later, but no more ticks back than a snapshot allows.
    history.states.append(State("bob", "m", 26, "other", 600.0, after_restart=True))
    history.states.append(State("bob", "m", 27, "s27", 600.05))
    assert check(history) == []


@pytest.mark.parametrize(
    "away",
    [
        [(17.0, 21.0)],
        [(15.5, 19.5)],
        # the store was never back for long enough to be written to
        [(15.2, 16.7), (17.2, 18.8), (19.1, 19.9)],
        [(16.9, 18.0), (18.5, 20.5)],
    ],
)
def test_a_server_that_ends_while_valkey_is_away_sets_a_match_back_by_as_much(
    away: list[tuple[float, float]],
) -> None:
    history = _true_history()
    _set_back(history)
    history.unwritten = away
    assert check(history) == []


def test_a_store_that_is_back_has_what_it_missed_as_soon_as_the_checker_says() -> None:
    assert SnapshotSettings().backoff.max_s + RedisSettings().max_retry_s <= WRITTEN_WITHIN_S


def test_a_match_may_come_back_in_any_of_the_states_of_one_tick() -> None:
    history = _true_history()
    history.states += [
        State("bob", "m", 27, "before cy joined", 3.1),
        State("bob", "m", 27, "with cy", 3.12),
        State("bob", "m", 27, "before cy joined", 4.0, after_restart=True),
    ]
    assert check(history) == []


def test_a_client_that_reads_late_is_told_late_of_a_restart_and_that_is_no_violation() -> None:
    history = History(snapshot_interval_s=1.0, tick_hz={"m": 20.0})
    for client, late_s in (("bob", 0.0), ("carol", 30.0)):
        states = [State(client, "m", n, f"s{n}", n / 20 + late_s) for n in range(600)]
        # From tick 290 it goes on as before, and is at 599 when carol hears of it.
        states[300] = State(client, "m", 290, "s290", 15 + late_s, after_restart=True)
        history.states += states
    assert check(history) == []
    history.states.append(State("carol", "m", 500, "s500", 61.0, after_restart=True))
    assert [each.rule for each in check(history)] == ["match_states_are_true"]
