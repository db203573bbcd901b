"""A player who saves an object that counts steps. Each write names the version of the last."""

from __future__ import annotations

import random
from typing import Any, Final

import trio

from tests.chaos.history import Write
from tests.chaos.player import Player

COLLECTION: Final = "chaos"
KEY: Final = "steps"


class Saver:
    """Saves steps of one object, which nobody else writes.

    Each step is sent until it is answered. So a step that finds another version than it names shows
    that the server forgot a write, or did one twice.
    """

    def __init__(self, player: Player, rng: random.Random) -> None:
        self._player = player
        self._rng = rng
        self._user = ""
        self._step = 0
        self._version = 0

    async def save(self) -> None:
        """Take a step; now and then send it once more, with its key."""
        if self._user != self._player.user:
            self._user, self._step, self._version = self._player.user, 0, 0
        step = self._step + 1
        key = f"step-{step}"
        answer = await self._write(step, key)
        if answer["op"] == "ok":
            if self._rng.random() < 0.3:
                await self._write(step, key)
            self._step, self._version = step, answer["data"]["versions"][0]
        elif answer["code"] == "version_conflict":
            await self._look()

    async def _write(self, step: int, key: str) -> dict[str, Any]:
        called_at = trio.current_time()
        one = {
            "collection": COLLECTION, "key": KEY, "value": str(step), "version": self._version,
        }  # fmt: skip
        answer = await self._player.request(op="storage.write", objects=[one], key=key)
        ok = answer["op"] == "ok"
        if self._user == self._player.user:
            self._player.history.writes.append(
                Write(
                    self._player.name, self._user, step, key, called_at, trio.current_time(),
                    "ok" if ok else "error",
                    version=answer["data"]["versions"][0] if ok else 0,
                    code="" if ok else answer["code"],
                )
            )  # fmt: skip
        return answer

    async def _look(self) -> None:
        """Read the object, and go on from there."""
        name = {"collection": COLLECTION, "key": KEY}
        answer = await self._player.request(op="storage.read", objects=[name])
        if answer["op"] == "ok":
            self._step = self._version = 0
            for found in answer["data"]["objects"]:
                self._step, self._version = int(found["value"]), found["version"]
