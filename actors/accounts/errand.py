"""`Errand`: an actor for one thing that takes a while, so that who asks for it does not wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from actors.runtime.actor import Actor
from actors.runtime.future import Future
from actors.runtime.handlers import handles
from actors.runtime.system import ActorSystem


class _Errand(msgspec.Struct, frozen=True):
    work: Callable[[], Awaitable[Any]]


class Errand(Actor):
    """Does one thing and stops."""

    @handles(_Errand, local=True)
    async def carry_out(self, message: _Errand) -> Any:
        """Do it. What it returns, or refuses with, is the answer."""
        self.stop()
        return await message.work()


def run_errand(
    system: ActorSystem, work: Callable[[], Awaitable[Any]], timeout_s: float
) -> Future[Any]:
    """Do something in a task of its own; returns the future of what it returns."""
    asked: Future[Any] = system.start(Errand).ask(_Errand(work), timeout=timeout_s)
    return asked
