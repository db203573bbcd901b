"""Durable schedules: timers of actors that outlive every process, a row each.

A schedule tells an actor (kind, key) something at a given time. It has a name, and an actor has at
most one schedule of a name. To set a schedule again, or to move it, replaces it.

- `Transaction.schedules` sets, moves and cancels schedules as part of a command; `ScheduleStore`
  does so for all others. `actors.node.scheduler` delivers them.
- PostgreSQL's clock decides what is due. Nothing is delivered early. A schedule that was due while
  no server was up is delivered when one is.
- A schedule is delivered at least once: its row is deleted when its target has acknowledged it, and
  after a crash in between it is delivered again, with the same `id`. A target that acts by a
  command can act exactly once: to cancel the schedule with its `id`, in the command's own
  transaction, succeeds once.
- A claim on a row ends at a given time, and other schedulers skip a claimed row. So two schedulers
  never deliver a schedule at the same time, and the claims of a scheduler that died lapse.
- No order is promised between two schedules.
"""

from persistence.schedules.rows import Claim, Claimed, Settled
from persistence.schedules.store import ScheduleStore
from persistence.schedules.transaction import TransactionSchedules
from persistence.schedules.worker import ScheduleWorker

__all__ = [
    "Claim",
    "Claimed",
    "ScheduleStore",
    "ScheduleWorker",
    "Settled",
    "TransactionSchedules",
]
