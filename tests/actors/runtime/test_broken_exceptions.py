"""Exceptions that cannot be shown or that look like the end of a task fail one actor only."""

from __future__ import annotations

import functools
from typing import Any, NoReturn

import pytest
import trio

import actors
from actors import ChildSpec, Kind, RestartPolicy
from actors.runtime.panic import presentable, shown
from actors.runtime.testing import Probe, open_system

from .sample import Counter, Get


class Broken(Exception):  # noqa: N818 -- it is
    """An exception whose text and repr raise."""

    def __str__(self) -> NoReturn:
        raise RuntimeError("no str")

    __repr__ = __str__


class BrokenPanic(BaseException):
    """`Broken` as a BaseException that is no Exception."""

    __str__ = Broken.__str__
    __repr__ = Broken.__str__


class BrokenRefusal(actors.Refusal):
    """A refusal whose text and repr raise."""

    __str__ = Broken.__str__


class Undecided(Exception):  # noqa: N818 -- it is
    """An exception whose truth value raises."""

    def __bool__(self) -> NoReturn:
        raise RuntimeError("no bool")


class Falsy(Exception):  # noqa: N818 -- it is
    """An exception that is false, so that `if error` misses it."""

    def __bool__(self) -> bool:
        return False


class FalsyThread(actors.ThreadingActor):
    """A thread that raises `Falsy` on every message, and again raises in `on_failure`."""

    def on_receive(self, _message: Any) -> NoReturn:
        raise Falsy("first")

    def on_failure(self, *_: object) -> NoReturn:
        raise ValueError("second")


class BrokenCallback:
    """A callback that raises, and whose repr raises as well."""

    def __repr__(self) -> NoReturn:
        raise RuntimeError("no repr")

    def __call__(self, *_: object) -> NoReturn:
        raise Broken


async def cancelled_elsewhere() -> BaseException:
    """Return a Cancelled that somebody caught and kept."""
    kept: list[BaseException] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep(0)
        except trio.Cancelled as error:
            kept.append(error)
            raise
    return kept[0]


ERRORS: list[type[BaseException]] = [Broken, BrokenPanic, GeneratorExit, trio.Cancelled]


async def make(kind: type[BaseException]) -> BaseException:
    return await cancelled_elsewhere() if kind is trio.Cancelled else kind()


class Fragile(Counter):
    """Raises `error` at the place `where`."""

    def __init__(self, where: str = "", error: BaseException | None = None) -> None:
        super().__init__()
        self.where = where
        self.error = error
        self.raise_at("__init__")

    def raise_at(self, place: str) -> None:
        if self.where.partition(" ")[0] == place and self.error is not None:
            raise self.error

    async def later(self, place: str) -> None:
        await trio.sleep(0)
        self.raise_at(place)

    def hook(self, place: str) -> Any:
        if self.where.endswith(" later"):
            return self.later(place)
        self.raise_at(place)
        return None

    def on_start(self) -> Any:
        return self.hook("on_start")

    def on_stop(self) -> Any:
        return self.hook("on_stop")

    def on_failure(self, *_: object) -> Any:
        return self.hook("on_failure")

    @actors.handles(str)
    def fail(self, message: str) -> Any:
        if message == "crash":
            raise ValueError(message)
        return self.hook("handler")

    @actors.handles(int)
    def map(self, message: int) -> Any:
        future: actors.Future[int] = actors.Future()
        mapped = future.map(lambda _: self.raise_at("map"))
        future.set(message)
        return mapped

    @actors.handles(float)
    def follow(self, message: float) -> Any:
        future: actors.Future[int] = actors.Future()
        assert self.error is not None
        future.set_exception(self.error)
        return future


PLACES = [
    "handler",
    "handler later",
    "on_start",
    "on_start later",
    "on_stop",
    "on_stop later",
    "on_failure",
    "on_failure later",
    "map",
    "follow",
]


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("place", PLACES)
async def test_whatever_an_actor_raises_its_asker_is_told_and_no_other_suffers(
    autojump_clock: object, place: str, kind: type[BaseException]
) -> None:
    error = await make(kind)
    async with open_system(default_timeout_s=1.0) as system:
        other = system.start(Counter, 7)
        policy = RestartPolicy(max_restarts=1)
        ref = system.start(Fragile, place, error, policy=policy)
        message: object = {"on_failure": "crash", "map": 1, "follow": 1.0}.get(
            place.partition(" ")[0], "x"
        )
        if place.startswith("on_stop"):
            assert await ref.stop()
        else:
            with pytest.raises(Exception) as raised:  # noqa: PT011 -- what it is, is said below
                await ref.ask(message)
            told = raised.value
            assert shown(told, str)
            if place.startswith(("handler", "map", "follow")):
                assert told is error or told.__cause__ is error
            if place.startswith("on_start"):
                assert isinstance(told, actors.ActorFailed)
                assert "Fragile/1 failed: " in str(told)
        await trio.sleep(0.5)
        assert await other.ask(Get()) == 7


@pytest.mark.parametrize("kind", ERRORS)
async def test_a_kind_or_a_tree_whose_constructor_raises_it_fails_alone(
    autojump_clock: object, kind: type[BaseException]
) -> None:
    error = await make(kind)
    async with open_system(default_timeout_s=1.0) as system:
        other = system.start(Counter, 7)
        system.register(Kind("k", lambda key: Fragile("__init__", error), max_restarts=0))
        with pytest.raises(actors.ActorFailed) as raised:
            await system.ref("k", "1").ask(Get())
        assert "k/1 failed: " in str(raised.value)
        spec = ChildSpec("a", functools.partial(Fragile, "__init__", error))
        outer = system.start(actors.Supervisor, [spec], policy=RestartPolicy(max_restarts=0))
        with pytest.raises(actors.StartFailed) as not_started:
            await outer.started()
        assert isinstance(not_started.value.cause, actors.Escalation)
        assert "did not start: " in str(not_started.value)
        assert await other.ask(Get()) == 7


async def test_a_refusal_that_cannot_be_shown_is_an_answer_all_the_same(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        ref = system.start(Fragile, "handler", BrokenRefusal())
        with pytest.raises(BrokenRefusal):
            await ref.ask("x")
        ref.tell("x")
        assert await ref.ask(Get()) == 0
        assert system.restarts == 0


async def test_a_refusal_whose_cause_is_neither_true_nor_false_is_an_answer(
    autojump_clock: object,
) -> None:
    refusal = actors.Refusal("no")
    refusal.__cause__ = Undecided()
    async with open_system() as system:
        ref = system.start(Fragile, "handler", refusal)
        with pytest.raises(actors.Refusal, match="no"):
            await ref.ask("x")
        assert await ref.ask(Get()) == 0


async def test_what_an_actor_in_a_thread_failed_of_first_stays_though_it_is_falsy() -> None:
    async with open_system() as system:
        ref = system.start(FalsyThread, policy=RestartPolicy(restart="temporary"))
        probe = Probe(system)
        probe.watch(ref)
        ref.tell("x")
        await probe.expect(actors.Terminated, within_s=60.0)
        with pytest.raises(actors.ActorFailed) as failed:
            await ref.ask("x")
        assert str(failed.value.cause) == "first"


async def test_a_callback_that_cannot_be_shown_fails_nobody_else(autojump_clock: object) -> None:
    async with open_system() as system:
        callback = BrokenCallback()
        system.after(0.1, callback)
        future: actors.Future[int] = actors.Future()
        future.on_done(callback)
        future.set(1)
        await trio.to_thread.run_sync(system.call_soon, callback)
        await trio.sleep(1.0)
        assert await system.start(Counter, 7).ask(Get()) == 7


async def test_a_system_that_fails_of_it_says_so(autojump_clock: object) -> None:
    async def fail() -> None:
        async with open_system() as system:
            system.fail(Broken())
            await trio.sleep_forever()

    with pytest.raises(actors.SystemFailed, match="whose str"):
        await fail()


def test_what_cannot_be_shown_is_named() -> None:
    assert shown(Broken()) == "<Broken, whose repr() raises RuntimeError>"
    assert shown(Broken(), str) == "<Broken, whose str() raises RuntimeError>"
    assert shown("x") == "'x'"
    panic = presentable(BrokenPanic())
    assert str(panic) == "BrokenPanic: <BrokenPanic, whose str() raises RuntimeError>"
