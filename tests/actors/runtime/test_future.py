from __future__ import annotations

import queue
import threading
from typing import Any

import pykka
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import actors
from actors import Future
from actors.runtime.testing import open_system, settle


async def test_everyone_who_waits_gets_the_value(autojump_clock: object) -> None:
    future: Future[int] = Future()
    got: list[int] = []

    async def wait() -> None:
        got.append(await future)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wait)
        await settle()
        future.set(7)
    assert got == [7, 7, 7]
    assert await future == 7


async def test_cancelling_a_wait_leaves_the_future_and_the_others_alone(
    autojump_clock: object,
) -> None:
    future: Future[str] = Future()
    got: list[str] = []

    async def wait() -> None:
        got.append(await future)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        with trio.move_on_after(1.0) as scope:
            await future
        assert scope.cancelled_caught
        future.set("late")
    assert got == ["late"]


async def test_an_exception_is_raised_where_it_is_awaited() -> None:
    future: Future[None] = Future()
    future.set_exception(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await future
    assert isinstance(future.exception(), ValueError)
    try:
        raise KeyError("inside")
    except KeyError:
        handled: Future[None] = Future()
        handled.set_exception()
    with pytest.raises(KeyError):
        handled.result()


def test_a_future_is_set_once() -> None:
    future: Future[int] = Future()
    future.set(1)
    with pytest.raises(queue.Full):
        future.set(2)
    with pytest.raises(queue.Full):
        future.set_exception(ValueError())
    future.settle_quietly(3)
    assert future.result() == 1


def test_a_reply_after_the_deadline_is_let_go() -> None:
    future: Future[int] = Future()
    future.expire()
    future.set(1)
    with pytest.raises(pykka.Timeout):
        future.result()


def test_a_pending_future_has_no_result() -> None:
    future: Future[int] = Future()
    assert not future.done
    for look in (future.result, future.exception):
        with pytest.raises(RuntimeError, match="pending"):
            look()


async def test_callbacks_run_at_once_if_done_and_else_inside_set() -> None:
    seen: list[int] = []
    future: Future[int] = Future()
    future.on_done(lambda done: seen.append(done.result()))
    assert seen == []
    future.set(1)
    assert seen == [1]
    future.on_done(lambda done: seen.append(done.result() + 1))
    assert seen == [1, 2]


async def test_a_callback_that_raises_harms_nobody() -> None:
    seen: list[int] = []
    future: Future[int] = Future()
    future.on_done(lambda done: 1 / 0)
    future.on_done(lambda done: seen.append(done.result()))
    future.set(1)
    assert seen == [1]


async def test_a_future_set_in_another_thread_wakes_the_loop() -> None:
    future: Future[int] = Future()
    where: list[int | None] = []
    future.on_done(lambda done: where.append(threading.get_ident()))
    thread = threading.Thread(target=future.set, args=(5,))
    thread.start()
    with trio.fail_after(60):
        assert await future == 5
        while not where:
            await trio.sleep(0.001)
    assert where == [threading.get_ident()]
    thread.join()


async def test_many_futures_set_in_a_thread_all_arrive() -> None:
    futures: list[Future[int]] = [Future() for _ in range(2000)]

    def set_all() -> None:
        for number, future in enumerate(futures):
            future.set(number)

    thread = threading.Thread(target=set_all)
    thread.start()
    with trio.fail_after(60):
        assert [await future for future in futures] == list(range(2000))
    thread.join()


async def test_get_waits_in_another_thread_and_refuses_in_the_loop() -> None:
    future: Future[int] = Future()
    future.on_done(lambda done: None)
    with pytest.raises(RuntimeError, match="await"):
        future.get()

    async def set_soon() -> None:
        await trio.sleep(0.01)
        future.set(3)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(set_soon)
        assert await trio.to_thread.run_sync(lambda: future.get(timeout=5)) == 3


async def test_get_gives_up_after_its_timeout() -> None:
    future: Future[int] = Future()

    def get() -> int:
        return future.get(timeout=0.01)

    with pytest.raises(pykka.Timeout):
        await trio.to_thread.run_sync(get)


async def test_pykkas_combinators_can_be_awaited() -> None:
    first: Future[list[int]] = Future()
    second: Future[int] = Future()
    doubled = first.map(lambda items: [2 * item for item in items])
    odd = first.filter(lambda item: item % 2 == 1)
    total = first.reduce(lambda a, b: a + b, 100)
    both = first.join(second)
    first.set([1, 2, 3])
    assert await doubled == [2, 4, 6]
    assert await odd == [1, 3]
    assert await total == 106
    assert not both.done
    second.set(9)
    assert await both == [[1, 2, 3], 9]


async def test_a_future_goes_on_to_another_one_whatever_fails_on_the_way() -> None:
    first, second = Future[int](), Future[str]()
    asked = list[int]()

    def go_on(value: int) -> Future[str]:
        asked.append(value)
        return second

    answer = first.then(go_on)
    first.set(1)
    assert not answer.done
    second.set("there")
    assert await answer == "there"
    assert asked == [1]
    failed: Future[int] = Future()
    failed.set_exception(ValueError("first"))
    with pytest.raises(ValueError, match="first"):
        await failed.then(go_on)
    late: Future[str] = Future()
    late.set_exception(ValueError("second"))
    with pytest.raises(ValueError, match="second"):
        await first.then(lambda _: late)
    with pytest.raises(ZeroDivisionError):
        await first.then(lambda value: go_on(value // 0))
    assert asked == [1]


async def test_an_exception_passes_through_the_combinators() -> None:
    failed: Future[int] = Future()
    failed.set_exception(ValueError("source"))
    fine: Future[int] = Future()
    fine.set(1)
    with pytest.raises(ValueError, match="source"):
        await failed.map(lambda value: value + 1)
    with pytest.raises(ZeroDivisionError):
        await fine.map(lambda value: value / 0)
    with pytest.raises(ValueError, match="source"):
        await fine.join(failed)


async def test_awaiting_done_futures_lets_others_run() -> None:
    done: Future[int] = Future()
    done.on_done(lambda _: None)
    done.set(1)
    ran = False

    async def other() -> None:
        nonlocal ran
        ran = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(100):
            await done
        assert ran


@given(st.lists(st.sampled_from(["wait", "cancel", "set"]), max_size=12))
def test_nobody_who_waits_is_forgotten_or_woken_twice(steps: list[str]) -> None:
    async def main() -> None:
        future: Future[int] = Future()
        woken: list[int] = []
        scopes: list[trio.CancelScope] = []
        cancelled = 0

        async def wait(number: int, scope: trio.CancelScope) -> None:
            with scope:
                await future
                woken.append(number)

        async with trio.open_nursery() as nursery:
            for step in steps:
                if step == "wait":
                    scopes.append(trio.CancelScope())
                    nursery.start_soon(wait, len(scopes), scopes[-1])
                    await trio.testing.wait_all_tasks_blocked()
                elif step == "cancel" and scopes and not future.done:
                    scope = scopes.pop()
                    scope.cancel()
                    cancelled += 1
                    await trio.testing.wait_all_tasks_blocked()
                elif step == "set" and not future.done:
                    future.set(1)
            if not future.done:
                future.set(1)
        assert len(woken) == len(set(woken)) == steps.count("wait") - cancelled

    trio.run(main)


LONG = 5_000
"""A number far above the interpreter's limit of nested calls."""


async def test_a_chain_of_any_length_is_settled(autojump_clock: object) -> None:
    first: Future[int] = Future()
    last = first
    for _ in range(LONG):
        last = last.map(lambda value: value + 1)
    first.set(0)
    assert await last == LONG
    failed: Future[int] = Future()
    last = failed
    for _ in range(LONG):
        last = last.map(lambda value: value + 1)
    failed.set_exception(KeyError("no"))
    with pytest.raises(KeyError, match="no"):
        await last


async def test_what_a_callback_sets_is_called_back_before_what_waits_beside_it(
    autojump_clock: object,
) -> None:
    first: Future[None] = Future()
    second: Future[None] = Future()
    seen: list[str] = []

    def set_second(_: object) -> None:
        second.set()
        seen.append("first")

    second.on_done(lambda _: seen.append("second"))
    first.on_done(set_second)
    first.on_done(lambda _: seen.append("beside"))
    first.set()
    assert seen == ["first", "second", "beside"]


class Link(actors.Actor):
    """Answers with the answer of the next link."""

    def __init__(self, following: actors.ActorRef | None) -> None:
        super().__init__()
        self.following = following

    @actors.handles(int)
    def pass_on(self, message: int) -> Any:
        return message if self.following is None else self.following.ask(message)

    @actors.handles(str)
    async def pass_on_later(self, message: str) -> Any:
        return message if self.following is None else self.following.ask(message)


@pytest.mark.parametrize("message", [7, "later"])
async def test_a_chain_of_actors_of_any_length_answers(
    autojump_clock: object, message: object
) -> None:
    async with open_system(default_timeout_s=60) as system:
        link: actors.ActorRef | None = None
        for _ in range(LONG // 5):
            link = system.start(Link, link)
        assert link is not None
        assert await link.ask(message) == message
        assert system.restarts == 0
