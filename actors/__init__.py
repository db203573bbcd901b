"""Actors for trio: mailboxes, supervision, refs that outlive a crash.

```python
import actors, trio

class Counter(actors.Actor):
    def __init__(self):
        self.value = 0

    @actors.handles(int)
    def add(self, amount):
        self.value += amount
        return self.value

async def main():
    async with actors.ActorSystem():
        counter = Counter.start()
        counter.tell(2)
        print(await counter.ask(3))

trio.run(main)
```

These names are the whole public surface of the runtime; `actors.runtime.testing` adds what tests
need. The game server's own actors are modules of this package as well (`actors.chat.room`, ...).
They are not imported here, so that `import actors` stays light.
"""

from pykka import ActorDeadError

from .runtime.actor import Actor
from .runtime.child import ChildSpec
from .runtime.dead_letters import DeadLetter
from .runtime.durability import Durability, DurabilitySettings
from .runtime.errors import (
    ActorExists,
    ActorFailed,
    AskTimeout,
    Escalation,
    Fenced,
    HandlerHung,
    JournalClosed,
    MailboxFull,
    Quarantined,
    Refusal,
    StartFailed,
    StoreBusy,
    SystemFailed,
    UnhandledMessage,
    Unstorable,
)
from .runtime.future import Future
from .runtime.handlers import handles
from .runtime.journal import Journal
from .runtime.journal_settings import JournalSettings
from .runtime.kinds import Kind
from .runtime.mailbox import MailboxSpec
from .runtime.messages import Terminated
from .runtime.panic import HandlerPanic
from .runtime.persistence import PersistentActor
from .runtime.quarantine import QuarantinePolicy
from .runtime.read_budget import RecoverySettings
from .runtime.recovery import LogGap, RecoveryFailed, UnreadableEvent
from .runtime.ref import ActorRef
from .runtime.restart import Backoff, RestartPolicy, RestartWindow
from .runtime.snapshots import SnapshotSettings
from .runtime.statistics import Statistics
from .runtime.stores import EventRow, EventStore, SnapshotRow, SnapshotStore
from .runtime.supervisor import Supervisor
from .runtime.system import ActorSystem
from .runtime.thread_cell import ThreadingActor
from .runtime.timers import Timer

__all__ = [
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
