"""Which messages crash an actor again and again, and for how long they are kept from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from .checks import check_count, check_seconds

_KEPT: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinePolicy:
    """When a message is kept from an actor because equal ones have crashed it, and for how long.

    After `crashes` crashes by equal messages, each within `within_s` seconds of the one before, no
    further one is handled for `for_s` seconds. Then one is tried: if it crashes the actor the next
    `for_s` seconds begin, and if it does not all is forgotten. So a dependency that was away for a
    while, or a bug that another message repairs, does not shut anybody out for good.

    The asker of a message that is not handled gets `Quarantined`; a told one is a dead letter
    (`quarantined`). Messages are equal if their types and their encoded fields are, so a retry is
    equal to what it retries. Timers' messages and the runtime's own are never held. Counted in
    `Statistics.quarantined`.

    `within_s` and `for_s` may be infinite: crashes are remembered as long as the actor is in
    memory, and held for as long. A `crashes` no message reaches (a million, say) holds nothing.
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
    held_until_s: float  # 0: not held
    fades_at_s: float  # when no crash of it counts any more


class Quarantine:
    """What has crashed one actor: the last 64 contents. There is none for an actor that is well.

    Every message passes by `holds` while there is one, so whoever owns it drops it once `empty`.
    """

    __slots__ = ("_policy", "_suspects", "_tried", "empty_at_s")

    def __init__(self, policy: QuarantinePolicy) -> None:
        self._policy = policy
        self._suspects: dict[int, _Suspect] = {}
        self._tried: int | None = None  # let through last, though suspect
        self.empty_at_s = 0.0
        """When no crash that is noted here counts any more."""

    @property
    def empty(self) -> bool:
        return not self._suspects

    def record(self, message: Any, now_s: float) -> None:
        """Note a crash by the message."""
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
        """For how many seconds the message must not be tried yet; 0: try it.

        Called for one message after the other: that the next one comes says that the one before,
        if it was let through, did not crash.
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
        """Forget the suspect that was tried last, if it has not crashed since."""
        if self._tried is not None:
            self._suspects.pop(self._tried, None)
            self._tried = None

    def note_cancelled(self) -> None:
        """The message that was tried was cut off: that says nothing about it."""
        self._tried = None


def _fingerprint(message: Any) -> int:
    try:
        content: Any = msgspec.msgpack.encode(message)
    except BaseException:  # not plain data: as it prints
        try:
            content = repr(message)
        except BaseException:  # not even that: its type alone
            content = None
    return hash((type(message), content))
