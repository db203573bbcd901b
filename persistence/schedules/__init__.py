"""Durable schedules: "at this time, tell (kind, key) that", a row each.

A schedule has a name, and of one name a target has one at a time: a timer of an actor that
outlives every process. Whoever sets it again, or moves it, replaces it.

- `Transaction.schedules` sets, moves and cancels as part of a command, `ScheduleStore` for all
  others. `actors.node.scheduler` delivers.
- PostgreSQL's clock decides what is due. Nothing is delivered early, and what was due while no
  server was up is delivered when one is.
- Delivered at least once: the row is deleted when its target has acknowledged it, so a crash in
  between brings it again, with the same `id`. Whoever acts by a command can make it once: to cancel
  with that `id`, in the command's own transaction, succeeds once.
- A claim on a row has an end and others pass over the row, so that two schedulers never deliver
  one at the same time, and that of a scheduler which died comes back.
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
