"""A player who makes friends, loses them, and blocks others, at random."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

import trio

from tests.chaos.history import Mingled
from tests.chaos.player import Player

ACTS: Final = (
    *("friend.request",) * 4,
    *("friend.accept",) * 3,
    "friend.decline",
    "friend.remove",
    "block.add",
    "block.remove",
)
REFUSALS: Final = frozenset({"forbidden", "not_asked", "bad_message"})
"""Answers that say that nothing was done."""


class Mingler:
    """Does one thing after the other with the other minglers, each until it is answered.

    So whatever this player has done to others is known in the end, and in which order.
    """

    def __init__(self, player: Player, others: Sequence[Player], rng: random.Random) -> None:
        self._player = player
        self._others = others
        self._rng = rng
        self.user = ""
        """The user whose acts are recorded."""
        self._acts = 0
        self.under_way: tuple[str, str] | None = None
        """The op that waits for its answer, and the other user."""

    async def mingle(self) -> None:
        """Begin something, or ask again for what was not answered."""
        user = self._player.user
        if self.user != user:
            if self.under_way is not None:
                self._player.history.undecided.add((self.user, self.under_way[1]))
            self.user, self._acts, self.under_way = user, 0, None
        if self.under_way is None:
            other = self._rng.choice(self._others).user
            if not user or not other or other == user:
                return
            self._acts += 1
            self.under_way = self._rng.choice(ACTS), other
        op, other = self.under_way
        called_at = trio.current_time()
        answer = await self._player.request(op=op, user=other, key=f"act-{self._acts}")
        if self._player.user != user:
            return
        ok = answer["op"] == "ok"
        if ok or answer["code"] in REFUSALS:
            self.under_way = None
            self._player.history.mingled.append(
                Mingled(
                    self._player.name, user, other, op, called_at, trio.current_time(),
                    "ok" if ok else "error",
                )
            )  # fmt: skip
