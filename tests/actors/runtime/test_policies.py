"""Policies that make no sense are refused where they are given; help() names the others."""

from __future__ import annotations

import pydoc
from collections.abc import Callable
from typing import Any, get_args

import pytest

import actors
from actors import Backoff, ChildSpec, Kind, MailboxSpec, RestartPolicy, RestartWindow, Supervisor
from actors.runtime import mailbox, reasons, restart
from actors.runtime.child import Strategy
from actors.runtime.testing import open_system

from .sample import Counter, Crash, Get

NAN, INFINITE = float("nan"), float("inf")


def child(id: str = "a", **rest: Any) -> ChildSpec:  # noqa: A002 -- the field's name
    return ChildSpec(id, Counter, **rest)


def kind(name: str = "k", **rest: Any) -> Kind:
    return Kind(name, lambda key: Counter(), **rest)


def untyped(value: Any) -> Any:
    """Return a value as Any, to pass words that a type checker would refuse."""
    return value


@pytest.mark.parametrize(
    ("give", "named"),
    [
        (lambda: MailboxSpec(10, untyped("dropoldest")), "drop_oldest"),
        (lambda: MailboxSpec(0), "capacity"),
        (lambda: Backoff(first_s=-1.0), "first_s"),
        (lambda: Backoff(first_s=INFINITE), "first_s"),
        (lambda: Backoff(factor=0), "factor"),
        (lambda: Backoff(factor=NAN), "factor"),
        (lambda: Backoff(max_s=-0.1), "max_s"),
        (lambda: Backoff(jitter=1.5), "jitter"),
        (lambda: RestartWindow(max_restarts=-1), "max_restarts"),
        (lambda: RestartWindow(within_s=0.0), "within_s"),
        (lambda: RestartPolicy(restart=untyped("always")), "permanent, transient, temporary"),
        (lambda: RestartPolicy(max_restarts=-1), "max_restarts"),
        (lambda: RestartPolicy(within_s=NAN), "within_s"),
        (lambda: RestartPolicy(shutdown_s=-1.0), "shutdown_s"),
        (lambda: child(restart=untyped("always")), "permanent, transient, temporary"),
        (lambda: child(shutdown_s=NAN), "shutdown_s"),
        (lambda: child(""), "id"),
        (lambda: kind(""), "name"),
        (lambda: kind(restart=untyped("never")), "permanent, transient, temporary"),
        (lambda: kind(idle_after_s=0.0), "idle_after_s"),
        (lambda: kind(retry_failed_after_s=NAN), "retry_failed_after_s"),
        (lambda: Supervisor([], strategy=untyped("one-for-all")), "one_for_all"),
        (lambda: Supervisor([], strategy=untyped("")), "one_for_all"),
        (lambda: Supervisor([], max_restarts=-1), "max_restarts"),
        (lambda: Supervisor([], within_s=NAN), "within_s"),
        (lambda: Supervisor([child("a"), child("a")]), "'a'"),
        (lambda: child(kind=untyped([1])), "kind"),
        (lambda: child(kind=""), "kind"),
        (lambda: child(key=untyped(5)), "key"),
        (lambda: actors.JournalSettings(pace_s=1e308), "pace_s"),
        (lambda: actors.RecoverySettings(page_bytes=0), "page_bytes"),
        (lambda: actors.RecoverySettings(held_bytes=-1), "held_bytes"),
        (lambda: Supervisor([child("a", key="c"), child("b", key="c")]), "'c'"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(give: Callable[[], object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        give()


@pytest.mark.parametrize(
    "give",
    [
        lambda: Backoff(first_s=untyped("1")),
        lambda: RestartPolicy(max_restarts=untyped(1.5)),
        lambda: RestartPolicy(backoff=untyped(1.0)),
        lambda: RestartPolicy(quarantine=untyped(2)),
        lambda: ChildSpec("a", untyped(None)),
        lambda: Kind("a", untyped("Counter")),
        lambda: MailboxSpec(untyped(True)),
        lambda: actors.JournalSettings(backoff=untyped(None)),
        lambda: actors.JournalSettings(backoff=untyped(0.5)),
        lambda: actors.SnapshotSettings(backoff=untyped("fast")),
        lambda: actors.RecoverySettings(page_bytes=untyped(NAN)),
        lambda: actors.RecoverySettings(held_bytes=untyped(None)),
        lambda: actors.DurabilitySettings(journal=untyped({})),
        lambda: actors.DurabilitySettings(snapshots=untyped(None)),
        lambda: actors.DurabilitySettings(recovery=untyped(1)),
    ],
)
def test_what_is_of_another_type_is_refused(give: Callable[[], object]) -> None:
    with pytest.raises(TypeError):
        give()


def test_none_zero_and_infinity_mean_what_they_say() -> None:
    RestartPolicy(shutdown_s=INFINITE, within_s=INFINITE, max_restarts=0)
    RestartPolicy(shutdown_s=0.0)
    Backoff(first_s=0.0, factor=1, max_s=0.0, jitter=0)
    kind(retry_failed_after_s=INFINITE)
    kind(retry_failed_after_s=0)


async def test_what_is_no_policy_no_kind_and_no_spec_is_refused_at_the_call(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        with pytest.raises(TypeError, match="policy is a RestartPolicy, and not 'permanent'"):
            system.start(Counter, policy=untyped("permanent"))
        with pytest.raises(TypeError, match="is a Kind"):
            system.register(untyped(Counter))
        with pytest.raises(TypeError, match="a child is a ChildSpec"):
            system.supervise([untyped(Counter)])
        assert list(system.actors()) == []


async def test_a_name_is_a_string_wherever_it_is_given(autojump_clock: object) -> None:
    async with open_system() as system:
        for name in (5, [1], "", b"a"):
            with pytest.raises(ValueError, match="key is a string"):
                system.start(Counter, key=untyped(name))
            with pytest.raises(ValueError, match="kind is a string"):
                system.start(Counter, kind=untyped(name))
            with pytest.raises(ValueError, match="key is a string"):
                system.supervise([child("a")], key=untyped(name))
        for kind, key in ((5, "a"), ("a", 5), ("a", None)):
            with pytest.raises(TypeError, match="is a string"):
                system.ref(untyped(kind), untyped(key))
        assert list(system.actors()) == []


class Thread(actors.ThreadingActor):
    """A thread class, which a factory may return by mistake."""


@pytest.mark.parametrize("cls", [Counter, Thread, Supervisor])
async def test_an_instance_has_one_place(cls: type) -> None:
    async with open_system() as system:
        one = cls()
        first = system.start(lambda: one, kind="one", key="first")
        with pytest.raises(TypeError, match="no new actor"):
            system.start(lambda: one, kind="one", key="second")
        assert await first.stop()
        with pytest.raises(TypeError, match="no new actor"):
            system.start(lambda: one, kind="one", key="third")
        assert list(system.actors()) == []


async def test_a_factory_that_makes_the_failed_instance_again_is_a_failure(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        one = Counter()
        again = system.start(lambda: one)
        again.tell(Crash())
        with pytest.raises(actors.ActorFailed) as raised:
            await again.ask(Get())
        assert "no new actor" in str(raised.value.__cause__ or raised.value)


async def test_what_is_no_actor_is_refused_by_its_type(autojump_clock: object) -> None:
    async with open_system() as system:
        for made in (None, 5, Counter):
            with pytest.raises(TypeError, match=f"{type(made).__name__} is no actor"):
                system.start(untyped(lambda made=made: made))
        tree = system.supervise([ChildSpec("a", untyped(lambda: None))], key="t")
        with pytest.raises(actors.StartFailed):
            await tree.started()
        system.register(Kind("k", untyped(lambda key: None)))
        with pytest.raises(TypeError, match="NoneType is no actor"):
            await system.ref("k", "a").ask(Get())


async def test_supervise_refuses_at_the_call(autojump_clock: object) -> None:
    async with open_system() as system:
        with pytest.raises(ValueError, match="ids of their own"):
            system.supervise([child("a"), child("a")], key="t")
        with pytest.raises(ValueError, match="one_for_all"):
            system.supervise([child("a")], untyped("one-for-all"), key="t")
        with pytest.raises(ValueError, match="max_restarts"):
            system.supervise([child("a")], max_restarts=-1, key="t")
        assert await system.supervise([child("a")], key="t").started()
        with pytest.raises(actors.ActorExists):
            system.supervise([child("b")], key="t")
        assert system.ref("t", "a").is_alive()


async def test_a_taken_name_leaves_the_tree_that_has_it_in_its_place(
    autojump_clock: object,
) -> None:
    async with open_system() as system:
        first = system.supervise([child("a")], key="t")
        await first.started()
        with pytest.raises(actors.ActorExists):
            system.supervise([child("b")], key="t")
    assert not first.is_alive()


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (actors.MailboxSpec, mailbox.OnFull),
        (actors.RestartPolicy, restart.Restart),
        (actors.ChildSpec, restart.Restart),
        (actors.Supervisor, Strategy),
        (actors.ActorSystem.supervise, Strategy),
        (actors.Terminated, reasons.Reason),
    ],
)
def test_help_names_the_words_that_are_allowed(of: Any, words: Any) -> None:
    shown = pydoc.plain(pydoc.render_doc(of))
    everything = pydoc.plain(pydoc.render_doc(actors))
    for text in (shown, everything):
        assert [word for word in get_args(words) if f"`{word}`" not in text] == []
