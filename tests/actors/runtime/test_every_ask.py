"""Whatever happens to an actor, every ask of it ends long before its deadline."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import actors
from actors import ChildSpec, Kind
from actors.runtime.cell import Cell, State
from actors.runtime.testing import open_system, run, settle

from .sample import Add, Counter, Crash, Get, Nap, Refuse

DEADLINE_S = 10_000.0


class Fragile(Counter):
    """Goes wrong in whichever way it is told to."""

    @actors.handles(str)
    def order(self, message: str) -> Any:
        if message == "stop":
            self.stop()
        elif message == "passivate":
            self.passivate()
        return message

    @actors.handles(float)
    async def fail_later(self, message: float) -> None:
        await trio.sleep(message)
        raise ValueError(message)

    async def on_stop(self) -> None:
        await trio.sleep(self.total % 3)

    async def on_failure(self, *exc_info: Any) -> None:
        await trio.sleep(self.total % 2)


MESSAGES: st.SearchStrategy[Any] = st.one_of(
    st.builds(Add, st.integers(0, 5)),
    st.just(Get()),
    st.builds(Nap, st.sampled_from([0.0, 0.5, 3.0])),
    st.builds(Crash, st.sampled_from(["a", "b"])),
    st.just(Refuse()),
    st.sampled_from(["stop", "passivate", "nothing"]),
    st.sampled_from([0.0, 1.0]),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), MESSAGES),
        st.tuples(st.just("tell"), MESSAGES),
        st.tuples(st.just("sleep"), st.sampled_from([0.0, 0.3, 2.0, 7.0])),
        st.tuples(st.just("settle"), st.none()),
        st.tuples(st.just("stop"), st.none()),
        st.tuples(st.just("kill"), st.none()),
        st.tuples(st.just("halt"), st.none()),
    ),
    max_size=25,
)


def start(system: actors.ActorSystem, how: str) -> actors.ActorRef:
    if how == "registered":
        system.register(
            Kind("k", lambda key: Fragile(), idle_after_s=1.0, shutdown_s=2.0, max_restarts=2)
        )
        return system.ref("k", "a")
    if how == "supervised":
        spec = ChildSpec("a", Fragile, shutdown_s=2.0, restart="permanent")
        system.supervise([spec], key="k", max_restarts=1000)
        return system.ref("k", "a")
    return system.start(Fragile, policy=actors.RestartPolicy(shutdown_s=2.0))


def start_again(cell: Cell, _halted: actors.Future[bool]) -> None:
    if cell.state is State.HALTED:
        cell.restart()


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["registered", "supervised", "alone"]), STEPS)
def test_every_ask_comes_to_something(how: str, steps: list[tuple[str, Any]]) -> None:
    async def main() -> None:
        asked: list[tuple[Any, actors.Future[Any]]] = []
        async with open_system(default_timeout_s=DEADLINE_S) as system:
            ref = start(system, how)
            await settle()
            for step, value in steps:
                cell = system.lookup(ref.kind, ref.key)
                if step == "ask":
                    asked.append((value, ref.ask(value)))
                elif step == "tell":
                    with suppress(actors.ActorDeadError):
                        ref.tell(value)
                elif step == "sleep":
                    await trio.sleep(value)
                elif step == "settle":
                    await settle()
                elif step == "stop":
                    ref.stop()
                elif cell is not None and step == "kill":
                    cell.kill()
                elif cell is not None and how == "alone" and step == "halt":
                    cell.halt().on_done(partial(start_again, cell))
            await trio.sleep(500.0)
            pending = [message for message, future in asked if not future.done]
            assert not pending
            assert trio.current_time() < DEADLINE_S

    run(main)
