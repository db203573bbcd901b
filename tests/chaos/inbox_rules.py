"""Rules for inboxes, by which `tests.chaos.checker` judges the tellers' records.

Pushes to a listener are judged like those to a member of a room, by `streams_are_complete`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.chaos.history import History


def acknowledged_entries_are_kept(history: History) -> Iterator[str]:
    """What was put into an inbox and acknowledged is there."""
    there = _entries(history)
    for told in history.told:
        if told.outcome == "ok" and not there[told.user, str(told.note)]:
            yield f"{told.user}: note {told.note} was acknowledged and is not there"


def no_entry_is_there_twice(history: History) -> Iterator[str]:
    """Attempts with one key put one entry into an inbox."""
    for (user, note), count in _entries(history).items():
        if count > 1:
            yield f"{user}: note {note} is there {count} times"


def _entries(history: History) -> Counter[tuple[str, str]]:
    return Counter((row.key, row.body) for row in history.log if row.kind == "user")
