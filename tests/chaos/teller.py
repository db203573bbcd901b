"""A player who puts notes into others' inboxes, and repeats each with its key until answered."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tests.chaos.history import Told
from tests.chaos.player import Player


class Teller:
    """Tells others, by an op of the trial service: no service of the server's own pushes yet.

    Args:
        listeners: players who have joined their inboxes.
    """

    def __init__(self, player: Player, listeners: Sequence[Player], rng: random.Random) -> None:
        self._player = player
        self._listeners = listeners
        self._rng = rng
        self._told = 0

    async def tell(self) -> None:
        """Tell one of them something; now and then once more, with the same key."""
        user = self._rng.choice(self._listeners).user
        if not user:
            return
        self._told += 1
        # A number that no other teller uses: two of them never tell the same.
        note = self._told * 1000 + int(self._player.name.rpartition("-")[2])
        await self._say(user, note)
        if self._rng.random() < 0.2:
            await self._say(user, note)

    async def _say(self, user: str, note: int) -> None:
        teller = self._player.user
        answer = await self._player.request(
            op="trial.tell", user=user, note=note, key=f"note-{note}"
        )
        if teller == self._player.user:  # else it is another user by now, and so is the key
            ok = answer["op"] == "ok"
            self._player.history.told.append(
                Told(self._player.name, user, note, "ok" if ok else "error")
            )
