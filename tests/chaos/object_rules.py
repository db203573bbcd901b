"""Rules for players' objects, by which `tests.chaos.checker` judges the savers' records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.chaos.history import History, Write


def acknowledged_writes_are_kept(history: History) -> Iterator[str]:
    """An object is there as its last acknowledged write left it, or as a later write did."""
    kept = {one.user: one for one in history.kept}
    for user, writes in _acknowledged(history).items():
        last = max(writes, key=lambda write: write.version)
        found = kept.get(user)
        if found is None:
            yield f"{user}: version {last.version} was acknowledged and there is no object"
        elif found.version < last.version:
            yield f"{user}: version {last.version} was acknowledged, {found.version} is there"
        elif found.version == last.version and found.step != last.step:
            yield f"{user}: version {last.version} is step {found.step}, not {last.step}"


def versions_only_grow(history: History) -> Iterator[str]:
    """A write that was called after another was acknowledged has a higher version."""
    for user, writes in _acknowledged(history).items():
        first: dict[str, Write] = {}
        for write in sorted(writes, key=lambda write: write.called_at):
            first.setdefault(write.key, write)
        for later in first.values():
            for earlier in first.values():
                if earlier.answered_at < later.called_at and earlier.version >= later.version:
                    yield f"{user}: {later.key} is version {later.version}, after {earlier.version}"


def no_write_acts_twice(history: History) -> Iterator[str]:
    """Attempts with one key are answered with one version."""
    for user, writes in _acknowledged(history).items():
        answered: dict[str, int] = {}
        for write in writes:
            first = answered.setdefault(write.key, write.version)
            if first != write.version:
                yield f"{user}: {write.key} was answered with {first} and {write.version}"


def no_write_meets_another_version(history: History) -> Iterator[str]:
    """A sole writer that sends the version of the last answer never meets another version.

    If it does, a write acted and its key was forgotten, or an acknowledged write is lost.
    """
    for write in history.writes:
        if write.code == "version_conflict":
            yield f"{write.user}: {write.key} met another version than it had been told of"


def _acknowledged(history: History) -> dict[str, list[Write]]:
    found: dict[str, list[Write]] = defaultdict(list)
    for write in history.writes:
        if write.outcome == "ok":
            found[write.user].append(write)
    return found
