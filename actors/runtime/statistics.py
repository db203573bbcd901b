"""The counts of a system."""

from __future__ import annotations

from typing import NamedTuple


class Statistics(NamedTuple):
    """Counts of a system since its start, except `actors` and `workers`.

    Attributes:
        actors: actors that are there now.
        handled: messages that were handled.
        restarts: instances that were started after a failure or a stop of the one before.
        dead_letters: messages that did not reach an actor.
        quarantined: messages that were held because equal ones had crashed their actor.
        slow_handlers: handlers that blocked the loop for 0.1 s or more.
        workers: tasks that await an async handler or hook now.
        refused: messages that full mailboxes refused.
        dropped: messages that full mailboxes dropped.
    """

    actors: int
    handled: int
    restarts: int
    dead_letters: int
    quarantined: int
    slow_handlers: int
    workers: int
    refused: int
    dropped: int
