"""What a handler may be and may return; anything else is an error where it is noticed."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pykka
import pytest

import actors
from actors.runtime.testing import open_system


async def coroutine() -> None:
    pass


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


def of_asyncio() -> Any:
    loop = asyncio.new_event_loop()
    try:
        return loop.create_future()
    finally:
        loop.close()


class Returning(actors.Actor):
    @actors.handles(object)
    def call(self, make: Callable[[], Any]) -> Any:
        return make()

    @actors.handles(tuple)
    async def call_later(self, make: tuple[Callable[[], Any]]) -> Any:
        return make[0]()


class ReturningInThread(actors.ThreadingActor):
    def on_receive(self, message: Any) -> Any:
        return message[0]() if isinstance(message, tuple) else message()


@pytest.mark.parametrize("wrap", [lambda make: make, lambda make: (make,)])
@pytest.mark.parametrize("cls", [Returning, ReturningInThread])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (generator, "generator"),
        (async_generator, "async_generator"),
        (of_asyncio, "Future"),
        (concurrent.futures.Future, "Future"),
        (pykka.ThreadingFuture, "ThreadingFuture"),
    ],
)
async def test_what_only_another_loop_or_thread_can_answer_is_no_reply(
    cls: Any, wrap: Any, make: Callable[[], Any], name: str
) -> None:
    async with open_system() as system:
        ref = system.start(cls)
        with pytest.raises(TypeError, match=f"^{name} cannot be a reply"):
            await ref.ask(wrap(make))
        assert await ref.ask(lambda: [1]) == [1]
        assert await ref.ask(lambda: None) is None


async def test_a_coroutine_is_awaited_in_the_loop_and_no_reply_in_a_thread() -> None:
    async with open_system() as system:
        assert await system.start(Returning).ask(coroutine) is None
        with pytest.raises(TypeError, match=r"^coroutine cannot be a reply"):
            await system.start(ReturningInThread).ask(coroutine)


def test_a_handler_that_is_a_generator_is_an_error_in_the_class() -> None:
    with pytest.raises(TypeError, match=r"Wrong\.handle is a generator"):

        class Wrong(actors.Actor):
            @actors.handles(int)
            def handle(self, _message: int) -> Iterator[int]:
                yield 1

    with pytest.raises(TypeError, match=r"WrongToo\.on_receive is a generator"):

        class WrongToo(actors.Actor):
            async def on_receive(self, _message: int) -> AsyncIterator[int]:
                yield 1


class Marked:
    @actors.handles(int)
    def handle(self, _message: int) -> None:
        pass


def test_a_mark_that_nobody_looks_at_is_an_error_in_the_class() -> None:
    with pytest.raises(TypeError, match=r"Wrong\.add: @handles is for actors in the loop"):

        class Wrong(actors.ThreadingActor):
            @actors.handles(int)
            def add(self, _message: int) -> None:
                pass

    with pytest.raises(TypeError, match=r"WrongToo\.handle: @handles is for actors in the loop"):

        class WrongToo(Marked, actors.ThreadingActor):
            pass


def test_a_hook_that_nobody_would_await_is_an_error_in_the_class() -> None:
    with pytest.raises(TypeError, match=r"Wrong\.on_receive: nobody would await it"):

        class Wrong(actors.ThreadingActor):
            async def on_receive(self, message: Any) -> None:
                pass

    with pytest.raises(TypeError, match=r"WrongToo\.on_start: nobody would await it"):

        class WrongToo(actors.ThreadingActor):
            async def on_start(self) -> None:  # type: ignore[override]
                pass
