"""What a match has logged that is not durable yet, by player."""

from __future__ import annotations

from typing import Any, Final

from actors.runtime.future import Future

SPARE: Final = 16


class Pending:
    """Keeps the last future of each player. Futures that are done are swept out now and then, so
    that it does not grow with everyone who ever came and went. Nothing happens when one is done:
    that would be outside of the actor's turn, and once for each input.
    """

    def __init__(self) -> None:
        self._last: dict[str, Future[Any]] = {}
        self._full = SPARE

    def __len__(self) -> int:
        return len(self._last)

    def put(self, player: str, durable: Future[Any]) -> None:
        """Remember what the player waits for, in place of the one before."""
        if len(self._last) >= self._full:
            self._last = {who: one for who, one in self._last.items() if not _is_over(one)}
            self._full = 2 * len(self._last) + SPARE
        self._last[player] = durable

    def get(self, player: str) -> Future[Any] | None:
        """What is to come for the player, or has failed; None: all of it is durable."""
        durable = self._last.get(player)
        return None if durable is None or _is_over(durable) else durable


def _is_over(durable: Future[Any]) -> bool:
    return durable.done and durable.exception() is None
