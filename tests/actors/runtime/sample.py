"""Messages and actors that the runtime's tests share."""

from __future__ import annotations

from typing import Any

import msgspec
import trio

import actors


class Add(msgspec.Struct, frozen=True):
    amount: int


class Get(msgspec.Struct, frozen=True):
    pass


class Nap(msgspec.Struct, frozen=True):
    """A message whose handler sleeps for so long, and then answers."""

    seconds: float
    answer: Any = "awake"


class Crash(msgspec.Struct, frozen=True):
    why: str = "crash"


class Refuse(msgspec.Struct, frozen=True):
    pass


class Crashed(Exception):  # noqa: N818 -- what happened
    """What a Crash raises."""


class No(actors.Refusal):
    """The refusal that answers a Refuse."""


class Counter(actors.Actor):
    """Adds up numbers. Its state does not outlive a restart."""

    def __init__(self, total: int = 0) -> None:
        super().__init__()
        self.total = total

    @actors.handles(Add)
    def add(self, message: Add) -> int:
        self.total += message.amount
        return self.total

    @actors.handles(Get)
    def get(self, message: Get) -> int:
        return self.total

    @actors.handles(Nap)
    async def nap(self, message: Nap) -> Any:
        await trio.sleep(message.seconds)
        return message.answer

    @actors.handles(Crash)
    def crash(self, message: Crash) -> None:
        raise Crashed(message.why)

    @actors.handles(Refuse)
    def refuse(self, message: Refuse) -> None:
        raise No("no")


class Member(Counter):
    """A Counter that writes down what its hooks see, in a list that tests hand in."""

    def __init__(self, name: str, diary: list[str]) -> None:
        super().__init__()
        self.name = name
        self.diary = diary

    def on_start(self) -> None:
        self.diary.append(f"{self.name} starts")

    def on_stop(self) -> None:
        self.diary.append(f"{self.name} stops")

    def on_failure(
        self, exception_type: object, exception_value: object, traceback: object
    ) -> None:
        self.diary.append(f"{self.name} fails: {exception_value}")
