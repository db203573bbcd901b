"""Keeps messages that have crashed an actor repeatedly from it for a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from .checks import check_count, check_seconds

_KEPT: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinePolicy:
    """When a message is kept from an actor because equal messages have crashed it, and for how
    long.

    After `crashes` crashes by equal messages, each within `within_s` seconds of the one before, no
    equal message is handled for `for_s` seconds. Then one is tried. If it crashes the actor, the
    next `for_s` seconds begin; if it does not, its crashes are forgotten. So nobody is shut out for
    good when a dependency was away for a while, or another message has mended the actor's state.

    The asker of a message that is held gets `Quarantined`; a told message becomes a dead letter
    with the reason `quarantined`. Messages are equal if their types and their encoded fields are,
    so a retry is equal to the first try. Messages of timers and of the runtime are never held.
    `Statistics.quarantined` counts the messages that were held.

    `within_s` and `for_s` may be infinite: then crashes are remembered, and messages held, as long
    as the actor is in memory. To hold nothing, set `crashes` to a number that is never reached,
    such as a million.

    Raises ValueError or TypeError for numbers that make no sense.
    """

    crashes: int = 2
    within_s: float = 60.0
    for_s: float = 60.0

    def __post_init__(self) -> None:
        check_count("crashes", self.crashes, least=1)
        check_seconds("within_s", self.within_s, above_zero=True)
        check_seconds("for_s", self.for_s, above_zero=True)


class _Suspect(NamedTuple):
    crashes: int
    held_until_s: float  # 0 if it is not held
    fades_at_s: float  # when its crashes count no longer


class Quarantine:
    """The messages that have crashed one actor, at most the last 64 different ones.

    An actor has none until its first crash. While it has one, every message is checked by `holds`,
    so its owner drops it once it is `empty`.
    """

    __slots__ = ("_policy", "_suspects", "_tried", "empty_at_s")

    def __init__(self, policy: QuarantinePolicy) -> None:
        self._policy = policy
        self._suspects: dict[int, _Suspect] = {}
        self._tried: int | None = None  # the last message that was tried after it was held
        self.empty_at_s = 0.0
        """When no crash that is recorded here counts any longer."""

    @property
    def empty(self) -> bool:
        return not self._suspects

    def record(self, message: Any, now_s: float) -> None:
        """Record a crash by the message."""
        self._tried = None
        mark = _fingerprint(message)
        before = self._suspects.pop(mark, None)
        crashes = 1
        if before is not None and now_s < before.fades_at_s:
            crashes += before.crashes
        held = crashes >= self._policy.crashes
        held_until_s = now_s + self._policy.for_s if held else 0.0
        fades_at_s = max(now_s, held_until_s) + self._policy.within_s
        self._suspects[mark] = _Suspect(crashes, held_until_s, fades_at_s)
        self.empty_at_s = max(self.empty_at_s, fades_at_s)
        if len(self._suspects) > _KEPT:
            del self._suspects[next(iter(self._suspects))]

    def holds(self, message: Any, now_s: float) -> float:
        """Return for how many more seconds the message is held; 0 means that it may be tried.

        It is called for every message in turn. A call therefore also tells that the message before,
        if it was tried, has not crashed the actor.
        """
        self.note_success()
        if now_s >= self.empty_at_s:
            self._suspects.clear()
        if not self._suspects:
            return 0.0
        mark = _fingerprint(message)
        suspect = self._suspects.get(mark)
        if suspect is None:
            return 0.0
        if now_s >= suspect.fades_at_s:
            del self._suspects[mark]
            return 0.0
        if now_s < suspect.held_until_s:
            return suspect.held_until_s - now_s
        self._tried = mark
        return 0.0

    def note_success(self) -> None:
        """Forget the crashes of the message that was tried last, since it has not crashed again."""
        if self._tried is not None:
            self._suspects.pop(self._tried, None)
            self._tried = None

    def note_cancelled(self) -> None:
        """Keep the crashes of the message that was tried last, since its handler was cancelled."""
        self._tried = None


def _fingerprint(message: Any) -> int:
    try:
        content: Any = msgspec.msgpack.encode(message)
    except BaseException:  # it cannot be encoded, so compare how it prints
        try:
            content = repr(message)
        except BaseException:  # nor printed, so only the type counts
            content = None
    return hash((type(message), content))
