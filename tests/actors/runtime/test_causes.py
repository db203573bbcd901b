"""Errors say who, what and why: whoever waited for an actor learns the cause of its failure."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio

import actors
from actors import ChildSpec, Kind
from actors.runtime.testing import open_system, settle

from .persistent import Ledger
from .sample import Add, Counter, Crash, Crashed, Get, Nap

NOW = actors.Backoff(first_s=0.0)


class NoDisk(Exception):  # noqa: N818 -- what happened
    pass


class Unmade(Counter):
    def __init__(self) -> None:
        raise NoDisk("no disk")


class Unstarted(Counter):
    def on_start(self) -> None:
        raise NoDisk("no disk")


class UnstartedLater(Counter):
    async def on_start(self) -> None:
        await trio.sleep(0.1)
        raise NoDisk("no disk")


class UnstartedThread(actors.ThreadingActor):
    def on_start(self) -> None:
        raise NoDisk("no disk")


BROKEN = [Unmade, Unstarted, UnstartedLater]


@pytest.mark.parametrize("broken", BROKEN)
async def test_all_who_ask_an_actor_that_cannot_start_are_told_why(
    autojump_clock: object, broken: type[Counter]
) -> None:
    async with open_system() as system:
        system.register(Kind("k", lambda key: broken(), retry_failed_after_s=30.0))
        asked = [system.ref("k", "a").ask(Get(), timeout=60.0) for _ in range(3)]
        await trio.sleep(10.0)
        asked.append(system.ref("k", "a").ask(Get()))  # while it rests
        for future in asked:
            with pytest.raises(actors.ActorFailed) as caught:
                await future
            assert isinstance(caught.value.__cause__, NoDisk)
            assert 0.0 < caught.value.retry_after_s <= 30.0
            assert str(caught.value).startswith("k/a failed: NoDisk('no disk'); it is tried again")


@pytest.mark.parametrize("broken", [Unstarted, UnstartedLater])
async def test_the_ref_of_an_actor_that_gave_up_knows_why(
    autojump_clock: object, broken: type[Counter]
) -> None:
    async with open_system() as system:
        ref = system.start(broken, key="a")
        with pytest.raises(actors.StartFailed) as started:
            await ref.started()
        assert str(started.value) == f"{broken.__name__}/a did not start: NoDisk('no disk')"
        assert isinstance(started.value.__cause__, NoDisk)
        await trio.sleep(60.0)
        for _ in range(2):
            with pytest.raises(actors.ActorFailed, match="no disk") as caught:
                await ref.ask(Get())
            assert isinstance(caught.value.__cause__, NoDisk)


async def test_a_thread_that_cannot_start_says_why() -> None:
    async with open_system() as system:
        policy = actors.RestartPolicy(max_restarts=1, backoff=NOW)
        ref = system.start(UnstartedThread, policy=policy)
        asked = ref.ask("?")
        with trio.fail_after(10):
            with pytest.raises(actors.StartFailed, match="no disk"):
                await ref.started()
            with pytest.raises(actors.ActorFailed, match="no disk"):
                await asked


async def test_a_persistent_actor_without_stores_says_so_at_once(autojump_clock: object) -> None:
    async with open_system() as system:
        system.register(Kind("ledger", Ledger))
        for _ in range(2):
            with pytest.raises(actors.ActorFailed, match="this system has no stores"):
                await system.ref("ledger", "a").ask(Get())
        assert system.restarts == 0


async def test_a_deadline_that_passes_while_an_actor_fails_to_come_back_says_of_what(
    autojump_clock: object,
) -> None:
    slow = actors.Backoff(first_s=1000.0, max_s=1000.0)
    async with open_system() as system:
        ref = system.start(Unstarted, key="a", policy=actors.RestartPolicy(backoff=slow))
        with pytest.raises(actors.AskTimeout, match="it failed: NoDisk") as caught:
            await ref.ask(Get())
        assert isinstance(caught.value.__cause__, NoDisk)
        well = system.start(Counter, policy=actors.RestartPolicy(backoff=NOW))
        with pytest.raises(Crashed):
            await well.ask(Crash())
        with pytest.raises(actors.AskTimeout) as late:
            await well.ask(Nap(100.0))
        assert late.value.__cause__ is None


# --- supervisors ---------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_supervisor_that_cannot_start_a_child_says_which_and_why(
    autojump_clock: object, broken: type[Counter]
) -> None:
    async def main() -> None:
        async with open_system() as system:
            specs = [ChildSpec("well", Counter), ChildSpec("ill", broken)]
            inner = ChildSpec("inner", lambda: actors.Supervisor(specs))
            tree = system.supervise([inner], key="t")
            with pytest.raises(actors.StartFailed, match=r"t/inner.*inner/ill.*no disk") as caught:
                await tree.started()
            causes = []
            error: BaseException | None = caught.value
            while error is not None:
                causes.append(type(error))
                error = error.__cause__
            assert causes == [actors.StartFailed, actors.Escalation, actors.Escalation, NoDisk]
            await trio.sleep(60.0)

    with pytest.raises(actors.SystemFailed, match="no disk"):
        await main()


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (ChildSpec("a", Counter, kind="Counter", key="taken"), "ActorExists"),
        (ChildSpec("a", dict, kind="Counter", key="other"), "dict is no actor"),
    ],
)
async def test_a_child_that_can_never_be_one_is_named(
    autojump_clock: object, spec: ChildSpec, why: str
) -> None:
    async with open_system() as system:
        system.start(Counter, key="taken")
        tree = system.start(actors.Supervisor, [spec], policy=actors.RestartPolicy(backoff=NOW))
        with pytest.raises(
            actors.StartFailed, match=rf"Counter/{spec.key} cannot be started: .*{why}"
        ):
            await tree.started()


async def test_who_asks_a_child_of_a_supervisor_that_gave_up_is_told_why(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        tree = system.start(
            actors.Supervisor,
            [ChildSpec("a", Counter)],
            max_restarts=0,
            policy=actors.RestartPolicy(restart="temporary"),
            key="t",
        )
        await tree.started()
        child = system.ref("t", "a")
        child.tell(Crash("bang"))
        waiting = child.ask(Get())
        await settle()
        for future in (waiting, child.ask(Get())):
            with pytest.raises(actors.ActorFailed, match="bang"):
                await future
        with pytest.raises(actors.ActorFailed, match="gives up"):
            await tree.ask("?")


# --- what is wrong with a factory, and with a mailbox --------------------------------------------


async def test_a_factory_that_makes_no_actor_is_an_answer_and_no_silence(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        system.register(Kind("k", lambda key: key))
        with pytest.raises(TypeError, match="str is no actor"):
            await system.ref("k", "a").ask(Get())


async def test_a_thread_that_asks_where_a_factory_makes_no_actor_is_told() -> None:
    async with open_system() as system:
        system.register(Kind("k", lambda key: key))
        ref = system.ref("k", "a")
        came: list[Any] = []

        def ask() -> None:
            try:
                ref.ask(Get(), block=True)
            except TypeError as error:
                came.append(error)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        await trio.to_thread.run_sync(thread.join, 10.0)
        assert len(came) == 1


async def test_a_full_mailbox_says_whose_it_is(autojump_clock: object) -> None:
    class Small(Counter):
        mailbox = actors.MailboxSpec(capacity=1)

    async with open_system() as system:
        small = system.start(Small, key="a")
        small.tell(Add(1))
        with pytest.raises(actors.MailboxFull, match="Small/a"):
            small.tell(Add(1))
        with pytest.raises(actors.MailboxFull, match="Small/a"):
            await small.ask(Get())
