"""What the ends of single nodes mean for the whole server."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.node.exits import Exit
from actors.node.parent.ended import ProcessEnd, exit_of_all


@pytest.mark.parametrize(
    ("ended", "text", "whole"),
    [
        (ProcessEnd(0), "exit code 0", Exit.OK),
        (ProcessEnd(11), "exit code 11", Exit.UNSAVED),
        (ProcessEnd(99), "exit code 99", Exit.FAILED),
        (ProcessEnd(10, words="n-1 lives"), "exit code 10: n-1 lives", Exit.NOT_ALONE),
        (ProcessEnd(0, words="n-1 lives"), "exit code 0", Exit.OK),
        (ProcessEnd(-signal.SIGSEGV), "killed by SIGSEGV", Exit.FAILED),
        (ProcessEnd(-signal.SIGTERM), "killed by SIGTERM", Exit.OK),
        (ProcessEnd(-40), "killed by signal 40", Exit.FAILED),
        (ProcessEnd(-signal.SIGKILL, "it hung"), "killed by SIGKILL: it hung", Exit.FAILED),
        (ProcessEnd(None, "no memory"), "could not be started: no memory", Exit.FAILED),
    ],
)
def test_an_end_has_words_and_an_exit_code(ended: ProcessEnd, text: str, whole: Exit) -> None:
    assert (str(ended), ended.exit) == (text, whole)


@given(st.lists(st.sampled_from(Exit)))
def test_a_server_ends_well_only_if_all_its_nodes_do(exits: list[Exit]) -> None:
    assert (exit_of_all(exits) == Exit.OK) == (set(exits) <= {Exit.OK})
    assert exit_of_all(exits) in {Exit.OK, *exits}


def test_a_failure_weighs_more_than_a_stop_that_took_too_long() -> None:
    assert exit_of_all([Exit.OK, Exit.UNSAVED, Exit.CUT_SHORT, Exit.FAILED]) == Exit.FAILED
    assert exit_of_all([Exit.OK, Exit.UNSAVED, Exit.CUT_SHORT]) == Exit.CUT_SHORT
