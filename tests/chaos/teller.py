"""A player who puts notes into others' inboxes, and repeats each one until it is answered."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tests.chaos.history import Told
from tests.chaos.player import Player


class Teller:
    """Puts notes into inboxes by an op of the trial service: no service of the server does so yet.

    Args:
        listeners: players who have joined their inboxes.
    """

    def __init__(self, player: Player, listeners: Sequence[Player], rng: random.Random) -> None:
        self._player = player
        self._listeners = listeners
        self._rng = rng
        self._told = 0

    async def tell(self) -> None:
        """Put a note into one inbox; now and then once more, with the same key."""
        user = self._rng.choice(self._listeners).user
        if not user:
            return
        self._told += 1
        # The number has the teller's own in it, so that no two tellers write the same note.
        note = self._told * 1000 + int(self._player.name.rpartition("-")[2])
        await self._say(user, note)
        if self._rng.random() < 0.2:
            await self._say(user, note)

    async def _say(self, user: str, note: int) -> None:
        teller = self._player.user
        answer = await self._player.request(
            op="trial.tell", user=user, note=note, key=f"note-{note}"
        )
        # a new user has keys of its own, so the attempt cannot be judged
        if teller == self._player.user:
            ok = answer["op"] == "ok"
            self._player.history.told.append(
                Told(self._player.name, user, note, "ok" if ok else "error")
            )
