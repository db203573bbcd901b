"""The page on which a process notes which guarded block it runs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator

import pytest

from actors.runtime.running_page import PAGE_BYTES, RunningPage
from actors.runtime.watchdog import interruptible, show_running

WHO = {"kind": "match", "key": "hanging-1", "game": "hanging"}
INNER = {"kind": "match", "key": "inner-2"}


@pytest.fixture
def other() -> Iterator[RunningPage]:
    """The page as another process maps it, while this one notes its blocks there."""
    with tempfile.TemporaryFile() as file:
        file.truncate(PAGE_BYTES)
        ours, theirs = RunningPage(file.fileno()), RunningPage(file.fileno())
    show_running(ours)
    yield theirs
    show_running(None)
    ours.close()
    theirs.close()


def named(page: RunningPage) -> str | None:
    found = page.running()
    return None if found is None else f"{found.kind}/{found.key}"


def test_a_block_is_on_the_page_while_it_runs(other: RunningPage) -> None:
    assert named(other) is None
    before = time.perf_counter()
    with interruptible(60.0, WHO):
        found = other.running()
        assert found is not None
        assert found[:2] == ("match", "hanging-1")
        assert before <= found.began_s <= time.perf_counter()
    assert named(other) is None


def test_a_block_within_another_one_is_on_the_page_until_it_ends(other: RunningPage) -> None:
    with interruptible(60.0, WHO):
        with interruptible(60.0, INNER):
            assert named(other) == "match/inner-2"
        assert named(other) == "match/hanging-1"


def test_a_block_that_fails_or_belongs_to_no_actor_is_not_on_the_page(other: RunningPage) -> None:
    with pytest.raises(ZeroDivisionError), interruptible(60.0, WHO):
        raise ZeroDivisionError
    assert named(other) is None
    with interruptible(60.0):
        assert named(other) is None


def test_a_name_that_does_not_fit_is_cut_off(other: RunningPage) -> None:
    with interruptible(60.0, {"kind": "match", "key": "x" * PAGE_BYTES}):
        name = named(other)
    assert name is not None
    assert name.startswith("match/xxx")
