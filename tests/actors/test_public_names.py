"""The public names of `import actors`. To change this list is to change the contract."""

from __future__ import annotations

import inspect
from types import ModuleType

import actors

PUBLIC = [
    "Actor",
    "ActorDeadError",
    "ActorExists",
    "ActorFailed",
    "ActorRef",
    "ActorSystem",
    "AskTimeout",
    "Backoff",
    "ChildSpec",
    "DeadLetter",
    "Durability",
    "DurabilitySettings",
    "Escalation",
    "EventRow",
    "EventStore",
    "Fenced",
    "Future",
    "HandlerHung",
    "HandlerPanic",
    "Journal",
    "JournalClosed",
    "JournalSettings",
    "Kind",
    "LogGap",
    "MailboxFull",
    "MailboxSpec",
    "PersistentActor",
    "QuarantinePolicy",
    "Quarantined",
    "RecoveryFailed",
    "RecoverySettings",
    "Refusal",
    "RestartPolicy",
    "RestartWindow",
    "SnapshotRow",
    "SnapshotSettings",
    "SnapshotStore",
    "StartFailed",
    "Statistics",
    "StoreBusy",
    "Supervisor",
    "SystemFailed",
    "Terminated",
    "ThreadingActor",
    "Timer",
    "UnhandledMessage",
    "UnreadableEvent",
    "Unstorable",
    "handles",
]


def test_the_public_names_are_these() -> None:
    assert sorted(actors.__all__) == sorted(PUBLIC)


def test_nothing_else_is_visible() -> None:
    visible = {
        name
        for name, value in vars(actors).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert visible == set(PUBLIC)


def test_every_public_name_says_what_it_is() -> None:
    silent = []
    for name in PUBLIC:
        value = getattr(actors, name)
        described = not (inspect.isclass(value) or inspect.isfunction(value)) or value.__doc__
        if not described:
            silent.append(name)
    assert not silent
