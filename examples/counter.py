"""A counter under supervision: it crashes, is restarted, and those who ask it hardly notice.

    python examples/counter.py

It needs nothing but `import actors`: no server, no network, no store.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import msgspec
import structlog
import trio

if __name__ == "__main__":  # run as a script from anywhere, without installing
    sys.path.insert(0, str(Path(__file__).parent.parent))

import actors


class Add(msgspec.Struct, frozen=True):
    """Add an amount. The answer is the new total."""

    amount: int


class Divide(msgspec.Struct, frozen=True):
    """Divide the total. A division by zero crashes the counter."""

    by: int


class TooMuch(actors.Refusal):
    """The counter would go above its limit. A refusal is an answer: the counter goes on."""


class Counter(actors.Actor):
    """Counts up to a limit. It is not persistent, so a crash loses its total."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.total = 0

    def on_start(self) -> None:
        print(f"  (a counter starts at {self.total})")

    @actors.handles(Add)
    def add(self, message: Add) -> int:
        if self.total + message.amount > self.limit:
            raise TooMuch(f"{self.total} + {message.amount} is above {self.limit}")
        self.total += message.amount
        return self.total

    @actors.handles(Divide)
    def divide(self, message: Divide) -> int:
        self.total //= message.by
        return self.total


async def main() -> None:
    """Show step by step what a supervisor is for."""
    async with actors.ActorSystem() as system:
        spec = actors.ChildSpec("counter", lambda: Counter(limit=100))
        supervisor = system.supervise([spec], key="example")
        await supervisor.started()
        counter = system.ref("example", "counter")

        counter.tell(Add(2))
        print("2 + 3 =", await counter.ask(Add(3)))

        try:
            await counter.ask(Add(1000))
        except TooMuch as refusal:
            print("refused:", refusal)
        print("and still there:", await counter.ask(Add(0)))

        crashing = counter.ask(Divide(0))
        waiting = counter.ask(Add(7))  # sent before the crash is known; the mailbox is kept
        try:
            await crashing
        except ZeroDivisionError as error:
            print("crashed:", error)
        print("what waited is answered by a new instance:", await waiting)

        await supervisor.stop()
        try:
            counter.tell(Add(1))
        except actors.ActorDeadError:
            print("stopped; dead letters:", system.dead_letters.count)


if __name__ == "__main__":
    # The runtime logs the crash with its traceback; here only the story is of interest.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    trio.run(main)
