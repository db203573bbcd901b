from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio

import actors
from actors import ChildSpec
from actors.runtime.child import Strategy
from actors.runtime.testing import Probe, open_system, settle

from .sample import Add, Counter, Crash, Get, Member, Nap

NOW = actors.Backoff(first_s=0.0)


def family(diary: list[str], *names: str, **spec: Any) -> list[ChildSpec]:
    options: dict[str, Any] = {"backoff": NOW, "restart": "permanent"} | spec
    return [ChildSpec(name, partial(Member, name, diary), **options) for name in names]


async def test_children_start_left_to_right_and_stop_right_to_left(autojump_clock: object) -> None:
    diary: list[str] = []
    async with open_system() as system:
        tree = system.supervise(family(diary, "ann", "bob", "cid"))
        assert await tree.started()
        assert diary == ["ann starts", "bob starts", "cid starts"]
        diary.clear()
        await tree.stop()
        assert diary == ["cid stops", "bob stops", "ann stops"]
        assert not tree.is_alive()


async def test_a_child_starts_when_the_one_before_it_has_started(autojump_clock: object) -> None:
    diary: list[str] = []

    class Slow(Member):
        async def on_start(self) -> None:  # type: ignore[override]  # hooks may be async
            await trio.sleep(1.0)
            diary.append("slow starts")

    async with open_system() as system:
        specs = [ChildSpec("slow", partial(Slow, "slow", diary)), *family(diary, "ann")]
        await system.supervise(specs).started()
        assert diary == ["slow starts", "ann starts"]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("one_for_one", ["bob fails: bang", "bob starts"]),
        (
            "one_for_all",
            ["bob fails: bang", "cid stops", "ann stops", "ann starts", "bob starts", "cid starts"],
        ),
        ("rest_for_one", ["bob fails: bang", "cid stops", "bob starts", "cid starts"]),
    ],
)
async def test_a_strategy_says_who_is_restarted(
    autojump_clock: object, strategy: Strategy, expected: list[str]
) -> None:
    diary: list[str] = []
    async with open_system() as system:
        await system.supervise(family(diary, "ann", "bob", "cid"), strategy, key="t").started()
        diary.clear()
        system.ref("t", "bob").tell(Crash("bang"))
        await settle()
        assert diary == expected
        for name in ("ann", "bob", "cid"):
            assert await system.ref("t", name).ask(Add(1)) == 1


async def test_those_restarted_along_keep_their_mailboxes(autojump_clock: object) -> None:
    diary: list[str] = []
    async with open_system() as system:
        await system.supervise(family(diary, "ann", "bob"), "one_for_all", key="t").started()
        ann, bob = system.ref("t", "ann"), system.ref("t", "bob")
        ann.tell(Nap(1.0))
        asked = ann.ask(Add(5))
        bob.tell(Crash())
        assert await asked == 5
        assert diary.count("ann starts") == 2


@pytest.mark.parametrize(
    ("restart", "stopped", "crashed"),
    [("permanent", True, True), ("transient", False, True), ("temporary", False, False)],
)
async def test_a_restart_kind_says_when_a_child_comes_back(
    autojump_clock: object, restart: Any, stopped: bool, crashed: bool
) -> None:
    diary: list[str] = []
    async with open_system() as system:
        specs = family(diary, "ann", "bob", restart=restart)
        await system.supervise(specs, key="t").started()
        ann, bob = system.ref("t", "ann"), system.ref("t", "bob")
        await ann.stop()
        bob.tell(Crash())
        await settle()
        assert ann.is_alive() is stopped
        assert bob.is_alive() is crashed


async def test_beyond_its_intensity_a_supervisor_escalates_and_is_restarted_whole(
    autojump_clock: object,
) -> None:
    diary: list[str] = []
    async with open_system() as system:
        tree = system.supervise(family(diary, "ann", "bob"), max_restarts=1, within_s=5.0, key="t")
        await tree.started()
        ann = system.ref("t", "ann")
        ann.tell(Crash("1"))
        await settle()
        diary.clear()
        ann.tell(Crash("2"))
        await settle()
        assert diary == ["ann fails: 2", "bob stops", "ann starts", "bob starts"]
        assert tree.is_alive()
        assert await ann.ask(Get()) == 0


async def test_failures_far_enough_apart_never_escalate(autojump_clock: object) -> None:
    diary: list[str] = []
    async with open_system() as system:
        await system.supervise(
            family(diary, "ann"), max_restarts=1, within_s=5.0, key="t"
        ).started()
        for number in range(10):
            system.ref("t", "ann").tell(Crash(str(number)))
            await trio.sleep(5.1)
        assert diary.count("ann starts") == 11


async def test_a_root_that_gives_up_fails_the_system_in_order(autojump_clock: object) -> None:
    diary: list[str] = []

    async def crash_for_ever() -> None:
        async with open_system() as system:
            system.start(Member, "outside", diary)
            specs = family(diary, "ann", "bob")
            await system.supervise(specs, max_restarts=0, within_s=60.0, key="t").started()
            while True:
                await trio.sleep(0.01)
                if system.ref("t", "ann").is_alive():
                    system.ref("t", "ann").tell(Crash())

    with pytest.raises(actors.SystemFailed) as caught, trio.fail_after(1000):
        await crash_for_ever()
    assert isinstance(caught.value.__cause__, actors.Escalation)
    assert diary[-1] == "outside stops"
    assert diary.count("ann starts") == 4


async def test_a_nested_supervisor_escalates_to_the_one_above(autojump_clock: object) -> None:
    diary: list[str] = []

    def inner() -> actors.Supervisor:
        return actors.Supervisor(family(diary, "ann"), max_restarts=0)

    async with open_system() as system:
        specs = [ChildSpec("inner", inner, backoff=NOW), *family(diary, "bob")]
        await system.supervise(specs, "one_for_all", key="t").started()
        assert diary == ["ann starts", "bob starts"]
        system.ref("inner", "ann").tell(Crash("deep"))
        await settle()
        assert diary[2:] == ["ann fails: deep", "bob stops", "ann starts", "bob starts"]
        diary.clear()
    assert diary == ["bob stops", "ann stops"]


async def test_a_child_that_does_not_stop_in_time_is_cancelled(autojump_clock: object) -> None:
    cancelled: list[str] = []

    class Stubborn(Counter):
        async def on_stop(self) -> None:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                cancelled.append("on_stop")
                raise

    class Busy(Counter):
        @actors.handles(str)
        async def hang(self, message: str) -> None:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                cancelled.append("handler")
                raise

    async with open_system() as system:
        tree = system.supervise(
            [
                ChildSpec("stubborn", Stubborn, shutdown_s=2.0),
                ChildSpec("busy", Busy, shutdown_s=3.0),
            ],
            key="t",
        )
        await tree.started()
        hanging = system.ref("t", "busy").ask("hang", timeout=100.0)
        await settle()
        began = system.now()
    assert cancelled == ["handler", "on_stop"]
    assert trio.current_time() - began == pytest.approx(5.0)
    with pytest.raises(actors.ActorDeadError):
        await hanging


async def test_a_supervisor_may_take_as_long_as_its_children(autojump_clock: object) -> None:
    diary: list[str] = []

    class Slow(Member):
        async def on_stop(self) -> None:  # type: ignore[override]  # hooks may be async
            await trio.sleep(4.0)
            diary.append(f"{self.name} stops")

    def inner() -> actors.Supervisor:
        specs = [ChildSpec(name, partial(Slow, name, diary)) for name in ("ann", "bob", "cid")]
        return actors.Supervisor(specs)

    async with open_system() as system:
        await system.supervise([ChildSpec("inner", inner)], key="t").started()
        diary.clear()
    assert diary == ["cid stops", "bob stops", "ann stops"]


async def test_children_that_stop_together_share_their_deadline(autojump_clock: object) -> None:
    class Stubborn(Counter):
        async def on_stop(self) -> None:
            await trio.sleep_forever()

    names = ("ann", "bob", "cid")
    async with open_system() as system:
        specs = [ChildSpec(name, Stubborn, shutdown_s=2.0) for name in names]
        tree = system.supervise(specs, key="t", stops_together=True)
        await tree.started()
        began = system.now()
        await tree.stop()
        assert system.now() - began == pytest.approx(2.0)
        assert not any(system.ref("t", name).is_alive() for name in names)


async def test_a_child_that_resists_cancellation_is_left_behind(autojump_clock: object) -> None:
    class Shielded(Counter):
        async def on_stop(self) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(10.0)

    async with open_system() as system:
        probe = Probe(system)
        shielded = system.start(Shielded, policy=actors.RestartPolicy(shutdown_s=1.0))
        probe.watch(shielded)
        began = system.now()
        await settle()
    assert [message.reason for message in probe.received] == ["killed"]
    assert trio.current_time() - began < 20.0


async def test_siblings_that_halt_too_slowly_are_cancelled_and_restarted(
    autojump_clock: object,
) -> None:
    diary: list[str] = []

    class Slow(Member):
        @actors.handles(str)
        async def hang(self, message: str) -> None:
            await trio.sleep_forever()

    async with open_system() as system:
        specs = [
            ChildSpec("slow", partial(Slow, "slow", diary), shutdown_s=1.0),
            *family(diary, "ann"),
        ]
        await system.supervise(specs, "one_for_all", key="t").started()
        slow = system.ref("t", "slow")
        slow.tell("hang")
        asked = slow.ask(Add(1))
        await settle()
        system.ref("t", "ann").tell(Crash())
        assert await asked == 1
        assert diary.count("slow starts") == 2


async def test_a_back_off_does_not_keep_the_supervisor_from_others(autojump_clock: object) -> None:
    diary: list[str] = []
    backoff = actors.Backoff(first_s=10.0, max_s=10.0, jitter=0.0)
    async with open_system() as system:
        specs = family(diary, "ann", "bob", backoff=backoff)
        tree = system.supervise(specs, key="t", max_restarts=5)
        await tree.started()
        ann = system.ref("t", "ann")
        ann.tell(Crash())
        ann.tell(Crash())
        asked = ann.ask(Add(1), timeout=60.0)
        await settle()
        assert await system.ref("t", "bob").ask(Get()) == 0
        assert not asked.done
        began = system.now()
        assert await asked == 1
        assert system.now() - began == pytest.approx(10.0)
        ann.tell(Crash())
        await settle()
        began = system.now()
    assert trio.current_time() - began < 1.0


async def test_a_tree_that_does_not_come_up_whole_does_not_come_up(autojump_clock: object) -> None:
    diary: list[str] = []
    tries = 0

    class Shaky(Member):
        def on_start(self) -> None:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise OSError("not yet")
            super().on_start()

    async with open_system() as system:
        specs = [*family(diary, "ann"), ChildSpec("shaky", partial(Shaky, "shaky", diary))]
        tree = system.supervise(specs, key="t")
        with pytest.raises(actors.StartFailed, match="t/shaky did not start: OSError"):
            await tree.started()
        await trio.sleep(10)
        assert tree.is_alive()
        assert diary[:3] == ["ann starts", "shaky fails: not yet", "ann stops"]
        assert diary[3:] == ["ann starts", "shaky starts"]


async def test_a_constructor_that_raises_is_a_failure_of_the_child(autojump_clock: object) -> None:
    made = 0

    def factory() -> Counter:
        nonlocal made
        made += 1
        if made == 2:
            raise OSError("cannot")
        return Counter()

    async with open_system() as system:
        await system.supervise([ChildSpec("a", factory, backoff=NOW)], key="t").started()
        system.ref("t", "a").tell(Crash())
        await settle()
        assert await system.ref("t", "a").ask(Add(1)) == 1
        assert made == 3


async def test_children_need_ids_of_their_own() -> None:
    with pytest.raises(ValueError, match="ids of their own"):
        actors.Supervisor([ChildSpec("a", Counter), ChildSpec("a", Counter)])


async def test_a_supervisor_is_an_actor_one_can_subclass(autojump_clock: object) -> None:
    class Family(actors.Supervisor):
        children = (ChildSpec("a", Counter), ChildSpec("b", partial(Counter, 5)))
        strategy = "rest_for_one"

        @actors.handles(str)
        def find(self, message: str) -> actors.ActorRef:
            return self.child(message)

    async with open_system() as system:
        family_ref = system.start(Family, key="f")
        assert await family_ref.started()
        found = await family_ref.ask("b")
        assert found == system.ref("f", "b")
        assert await found.ask(Get()) == 5
