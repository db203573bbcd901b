"""What is kept by name, and forgotten once it is as good as new."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class ByName(Generic[T]):
    """Values by the names of clients, which may be any number of different ones.

    A sweep forgets the values that a new one could stand for. It comes when twice as many are kept
    as the last one left, so that a look-up costs the same however many there are.

    Arguments:
        fresh: whether a value is as good as a new one, at a time.
        spare: how many are kept without a sweep.
    """

    __slots__ = ("_fresh", "_kept", "_spare", "_sweep_at")

    def __init__(self, fresh: Callable[[T, float], bool], spare: int) -> None:
        self._fresh = fresh
        self._kept: dict[str, T] = {}
        self._spare = self._sweep_at = spare

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, name: str) -> T:
        """Return what is kept. Raises KeyError."""
        return self._kept[name]

    def get(self, name: str, now: float, new: Callable[[], T]) -> T:
        """Return what is kept by a name, or a new one."""
        kept = self._kept.get(name)
        if kept is None:
            if len(self._kept) >= self._sweep_at:
                self._kept = {
                    at: one for at, one in self._kept.items() if not self._fresh(one, now)
                }
                self._sweep_at = max(self._spare, 2 * len(self._kept))
            kept = self._kept[name] = new()
        return kept
