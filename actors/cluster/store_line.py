"""Questions to a store that may hang: one at a time, each with a bound on the wait."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import trio

from actors.runtime.future import Future
from actors.runtime.ref import ActorRef
from persistence import StoreError, StoreUnavailable


class StoreLine:
    """The questions to a store's thread.

    The next question is not sent before the answer to the one before, however late that is: what a
    store does after a pause of minutes is of no use, and a queue of such work would do harm.

    Arguments:
        thread: the store's thread.
        store: its name, for errors.
    """

    def __init__(self, thread: ActorRef, store: str) -> None:
        self._thread = thread
        self._store = store
        self._asked: Future[Any] | None = None
        self._turn = trio.Lock()

    async def ask(self, question: Any, timeout_s: float) -> Any:
        """Ask and return the answer.

        Raises:
            StoreError: there is none, in time or at all.
        """
        try:
            with trio.fail_after(timeout_s):
                async with self._turn:
                    if self._asked is not None and not self._asked.done:
                        await _until_done(self._asked)
                    self._asked = self._thread.ask(question, timeout=math.inf)
                    return await self._asked
        except StoreError:
            raise
        except Exception as error:  # the answer is late, or the thread is being restarted
            raise StoreUnavailable(self._store, str(error) or "no answer in time") from None


async def _until_done(asked: Future[Any]) -> None:
    with suppress(Exception):  # whoever asked has gone
        await asked
