"""Events of players that a match has logged and that are not durable yet."""

from __future__ import annotations

from typing import Any, Final

from actors.runtime.future import Future

SPARE: Final = 16


class Pending:
    """Keeps the last future of each player.

    Futures that are done are swept out now and then, so that this does not grow with each player
    who came and went. A callback of each future would be called outside of the actor's turn, and
    once for each input.
    """

    def __init__(self) -> None:
        self._last: dict[str, Future[Any]] = {}
        self._full = SPARE

    def __len__(self) -> int:
        return len(self._last)

    def put(self, player: str, durable: Future[Any]) -> None:
        """Keep the player's future, in place of the one before."""
        if len(self._last) >= self._full:
            self._last = {who: one for who, one in self._last.items() if not _is_over(one)}
            self._full = 2 * len(self._last) + SPARE
        self._last[player] = durable

    def get(self, player: str) -> Future[Any] | None:
        """Return the player's future if it is not done or has failed; None if all is durable."""
        durable = self._last.get(player)
        return None if durable is None or _is_over(durable) else durable


def _is_over(durable: Future[Any]) -> bool:
    return durable.done and durable.exception() is None
