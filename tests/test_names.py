"""A class, type or function has a name of its own, and a verb of a method one meaning.

No two modules define the same type or function, but for those that are listed here.

A reader who sees `Lease` then knows which one is meant without a look at the imports. Names that
begin with an underscore are a module's own affair. So are the functions of a bench, which is a
program by itself.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("actors", "protocol", "persistence", "bench")

SHARED = {
    # One thing at two ends: what the server runs, and what a program holds of it.
    "Match": {"actors/matches/match.py", "protocol/remote/match.py"},
    "Room": {"actors/chat/room.py", "protocol/remote/room.py"},
    "Session": {"actors/edge/session.py", "protocol/remote/session.py"},
    # A protocol of the runtime, and the class that fulfils it; users see one of the two.
    "Cluster": {"actors/runtime/cluster.py", "actors/cluster/cluster.py"},
    "EventStore": {"actors/runtime/stores.py", "persistence/events.py"},
    "SnapshotStore": {"actors/runtime/stores.py", "persistence/snapshots.py"},
    # The same type, in layers that may not import one another.
    "Count": {"actors/quantities.py", "persistence/settings.py"},
    "PositiveSeconds": {"actors/quantities.py", "persistence/settings.py"},
    # What one asks for, and what works it out.
    "Placement": {"actors/runtime/kinds.py", "actors/cluster/rules/placement.py"},
    # Events of a match are stored under these names; the others never leave the cluster's rules.
    "Ended": {"actors/matches/rules/record.py", "actors/cluster/rules/answers.py"},
    "Moved": {"actors/matches/rules/record.py", "actors/cluster/rules/answers.py"},
    # The field's word for both: who is in a room (on the wire), and who is in a cluster.
    "Member": {"protocol/messages/room.py", "actors/cluster/rules/member.py"},
    # The same contract for each peer that the bench compares with.
    "Driver": {
        f"bench/peers/{peer}.py"
        for peer in ("colyseus", "nakama", "picows", "socketio", "trio_websocket")
    },
}
"""Types that several modules define, and the reason."""

SHARED_FUNCTIONS = {
    # One contract that several fulfil: the parts of a service, the stores.
    "start": {
        f"actors/{name}/service.py"
        for name in (
            "accounts",
            "audit",
            "chat",
            "friends",
            "inbox",
            "keys",
            "matches",
            "storage",
            "webhooks",
        )
    },
    "readings": {
        f"actors/{name}/service.py"
        for name in (
            "accounts",
            "audit",
            "friends",
            "inbox",
            "keys",
            "matches",
            "storage",
            "webhooks",
        )
    },
    "trimming": {"actors/chat/service.py", "actors/inbox/service.py"},
    "address_problem": {"persistence/postgres/address.py", "persistence/redis/address.py"},
    # To what it connects, the arguments say: settings of a store, the URL of a server.
    "connect": {
        "persistence/postgres/connection.py",
        "persistence/redis/connection.py",
        "protocol/remote/connecting.py",
    },
    # Programs of their own.
    "main": {"server.py", "protocol/tables.py", "protocol/terminal.py"},
}
"""Functions that several modules define, and the reason."""

VERBS: dict[str, dict[str, set[str]]] = {
    "add": {
        "one more to the collection that the class is named for": {
            "Audience", "Backlog", "Calls", "CommitQueue", "DeadLetters", "Index", "Questions",
            "ReadBudget", "Roster", "Timers", "Undelivered", "Watches", "Wheel",
        },
    },
    "append": {
        "at the end of a log": {"EventStore", "MemoryEventStore", "RoomLog", "Tail"},
    },
    "open": {
        "begin, with the actor system that it is a part of": {
            "Bus", "Cluster", "Contexts", "Dispatcher", "Lifetime",
        },
    },
    "put": {
        "into a mailbox": {
            "BoundedInbox", "LoopCell", "Mailbox", "Near", "RemoteTarget", "ThreadInbox",
        },
        "into a collection, until it is taken out": {
            "Arrivals", "Feed", "MemoryEventStore", "Pending",
        },
        "into the inbox of a user, by a command": {"Putting"},
    },
    "run": {
        "be the task or the main function of what the class is, until that ends": {
            "Channel", "Chat", "Connection", "Dispatcher", "Durability", "Flusher", "Garbage",
            "HangWatch", "HttpConnection", "Journal", "NodeKeeper", "NodeMembership", "NodeProcess",
            "ParentLine", "ParentProcess", "Poller", "Round", "ServerNode", "Snapshotter", "Timers",
            "Wheel",
        },
        "handle messages, when it is this cell's turn": {"LoopCell", "LoopLife", "Runnable"},
        "call a function with the connection": {"PostgresLink"},
    },
    "take": {
        "say of a control message whether it still counts, and use it up": {
            "ActorTimers", "Cell", "Piped", "Source", "Timer", "TimerOwner",
        },
        "take something out of what the class is": {"Bucket", "HoldingWay", "TickSchedule"},
        "become the holder": {"SchemaLease"},
        "keep a message that a test wants to see": {"Probe"},
    },
}  # fmt: skip
"""Verbs that could stand for anything: what each of them means here, and in which public classes.

A reader follows a message by its verbs. A method with another meaning gets a name that tells it,
as `Dispatcher.enqueue`, `Journal.queue_event` and `Facts.execute` do.
"""


def types_of(source: str) -> Iterator[str]:
    """The public classes and type aliases that a module defines."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        else:
            continue
        for name in names:
            if name[0].isupper() and not (name.isupper() and len(name) > 1) and len(name) > 1:
                yield name


def functions_of(source: str) -> Iterator[str]:
    """The public functions that a module defines, methods aside."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_":
            yield node.name


def methods_of(source: str) -> Iterator[tuple[str, str]]:
    """The methods of the public classes that a module defines: (method, class)."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name[0] != "_":
            for one in node.body:
                if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield one.name, node.name


def paths_of(folders: Iterable[str]) -> Iterator[Path]:
    """The modules of these folders, and server.py."""
    yield ROOT / "server.py"
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def shared(names_of: Callable[[str], Iterator[str]], folders: Iterable[str]) -> dict[str, set[str]]:
    """The names that several modules define, with these modules."""
    found: dict[str, set[str]] = {}
    for path in paths_of(folders):
        for name in names_of(path.read_text(encoding="utf-8")):
            found.setdefault(name, set()).add(path.relative_to(ROOT).as_posix())
    return {name: modules for name, modules in found.items() if len(modules) > 1}


def test_no_two_types_share_a_name() -> None:
    assert shared(types_of, FOLDERS) == SHARED


def test_no_two_functions_share_a_name() -> None:
    assert shared(functions_of, [name for name in FOLDERS if name != "bench"]) == SHARED_FUNCTIONS


def test_a_verb_that_could_mean_anything_has_one_of_the_meanings_that_are_listed() -> None:
    found: dict[str, set[str]] = {verb: set() for verb in VERBS}
    for path in paths_of(name for name in FOLDERS if name != "bench"):
        for method, cls in methods_of(path.read_text(encoding="utf-8")):
            if method in VERBS:
                found[method].add(cls)
    assert found == {verb: set().union(*meanings.values()) for verb, meanings in VERBS.items()}


def test_no_class_gives_a_verb_two_meanings() -> None:
    for verb, meanings in VERBS.items():
        classes = [cls for which in meanings.values() for cls in which]
        assert len(classes) == len(set(classes)), verb


def test_classes_and_aliases_count_and_constants_do_not() -> None:
    source = "class Room: ...\nT = object()\nLIMIT = 3\nAnswer = int | str\n_Own = int"
    assert list(types_of(source)) == ["Room", "Answer"]
