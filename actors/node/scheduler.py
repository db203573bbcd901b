"""The scheduler: delivers durable schedules when they are due.

Each node has one. It waits for the next due time with one timer, whether ten schedules wait or a
million. PostgreSQL's clock decides what is due; trio's clock only decides when to ask next. So if
the clocks differ, the scheduler asks once too often or up to `look_every_s` late, and nothing is
delivered early.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

import msgspec
import trio
from pykka import ActorDeadError

from actors.runtime.actor import Actor
from actors.runtime.child import ChildSpec
from actors.runtime.errors import MailboxFull
from actors.runtime.future import Future
from actors.runtime.handlers import handles
from actors.runtime.mailbox import MailboxSpec
from actors.runtime.ref import ActorRef
from actors.runtime.restart import Backoff
from persistence import ScheduleSettings
from persistence.schedules import Claim, Claimed, ScheduleStore, Settled

KIND: Final = "scheduler"
CLAIM_S: Final = 10.0
"""How long a claim lasts beyond the time that its target has. If the node crashes, another one
delivers the schedule again after that."""
HELD_S: Final = 0.05
"""The pause before the next look at a due row that another transaction has locked."""
SETTLE_S: Final = 0.02
"""The pause between an answer and the look that settles it, together with others. A schedule whose
answer is not settled yet when the node crashes is delivered again."""
STORE_RETRY_S: Final = 1.0
"""The pause before the next look if the store is away."""
DRAIN_S: Final = 3.0
"""How long a scheduler that stops waits for the answers of its targets."""
_LOOK: Final = "look"


class Fired(msgspec.Struct, frozen=True):
    """To the target of a schedule: the schedule is due.

    A handler that returns has acknowledged it; a handler that raises gets it again. It may come
    more than once in any case, each time with the same `id`. A schedule that is set again or moved
    has another `id`.

    `due_us`: the due time, in microseconds since 1970, UTC. `attempt` counts from 1.
    """

    id: int
    name: str
    payload: bytes
    due_us: int
    attempt: int


@dataclass(slots=True)
class ScheduleCounters:
    """Counters of a scheduler, over all its incarnations."""

    delivered: int = 0
    """Attempts: messages to targets."""
    acknowledged: int = 0
    failed: int = 0
    """Attempts that were refused, failed, or not answered in time."""
    given_up: int = 0
    """Schedules that failed too often."""
    homeless: int = 0
    """Attempts that were put off, because this node has no kind of that name."""
    looks: int = 0
    """Looks at the table."""
    failed_looks: int = 0
    """Looks while the store was away."""
    in_flight: int = 0
    """Schedules whose targets have not answered yet."""
    late_s: float = 0.0
    """How long after its due time the last schedule was claimed; only first attempts count."""


class Bell:
    """Wakes the scheduler for a schedule that is due before its next look. Safe from any thread."""

    def __init__(self) -> None:
        self.scheduler: ActorRef | None = None
        self.planned_us = -math.inf
        """The time of its next look, in microseconds. Infinity while it looks, since the look may
        have missed a schedule that was just committed."""

    def ring(self, due_us: int) -> None:
        """Tell the scheduler of a committed schedule that is due at `due_us`."""
        if due_us < self.planned_us and self.scheduler is not None:
            # A scheduler that starts again, or that has a full mailbox, will look anyway.
            with suppress(ActorDeadError, MailboxFull):
                self.scheduler.tell(_Earlier(due_us))


class _Earlier(msgspec.Struct, frozen=True, gc=False):
    """A schedule that was just set or moved is due at this time."""

    due_us: int


class _Look(msgspec.Struct, frozen=True, gc=False):
    """Timer: settle what was answered, and claim what is due."""


class _Answered(msgspec.Struct, frozen=True):
    """A target has acknowledged a schedule, or failed to."""

    claimed: Claimed
    done: Future[Any]


class Scheduler(Actor):
    """Claims schedules that are due, asks their targets, and settles the answers.

    It holds at most `settings.in_flight` schedules at once; others that are due wait in the table.
    Its handler awaits the store, so that one look follows the other. It never awaits a target.
    """

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=1024)

    def __init__(
        self,
        schedules: ScheduleStore,
        settings: ScheduleSettings,
        bell: Bell,
        counters: ScheduleCounters,
    ) -> None:
        super().__init__()
        self._schedules = schedules
        self._settings = settings
        self._bell = bell
        self._counters = counters
        self._backoff = Backoff(settings.first_retry_s, 2.0, settings.max_retry_s)
        self._claim_s = settings.answer_timeout_s + CLAIM_S
        self._flying: dict[Claimed, Future[Any]] = {}
        self._settled: list[Settled] = []
        self._look_at_s = math.inf
        self._ahead_us = 0.0  # PostgreSQL's clock less trio's
        self._away = False
        self._unknown_kinds: set[str] = set()

    def on_start(self) -> None:
        self._counters.in_flight = 0
        self._bell.scheduler = self.actor_ref
        self._look_in(0.0)

    async def on_stop(self) -> None:
        """Wait for the answers of targets, and give the other schedules back."""
        self._bell.scheduler = None
        with trio.move_on_after(DRAIN_S):
            for future in self._flying.values():
                with suppress(Exception):  # the loop below looks at the outcome
                    await future
        for claimed, future in self._flying.items():
            acknowledged = future.done and future.exception() is None
            self._settled.append(Settled(claimed, None if acknowledged else 0, kept=True))
        if self._settled:
            try:
                await self._schedules.settle(self._settled)
            except Exception as error:  # their claims lapse
                self.log.info("schedules not given back", error=str(error))

    # --- looking ---------------------------------------------------------------------------------

    @handles(_Earlier)
    def earlier(self, message: _Earlier) -> None:
        """Plan a look for this due time, unless an earlier one is planned."""
        self._look_in((message.due_us - self._ahead_us) / 1e6 - self.system.now())

    @handles(_Look)
    async def look(self, _: _Look) -> None:
        """Claim and deliver what is due, settle what was answered, and plan the next look."""
        self._look_at_s = self._bell.planned_us = math.inf
        self._counters.looks += 1
        # Claims come first. But after an outage a claim might bring a schedule that its target has
        # answered already, so then the answers are settled first.
        if (self._away or self._crowded) and not await self._settle():
            return
        room = self._room
        asked_s = self.system.now()
        try:
            claim = await self._schedules.claim(room, self._claim_s)
        except Exception as error:  # every error of a store means that it is away
            self._store_is_away(error)
            return
        self._take(claim, room, asked_s)
        if not await self._settle():
            return
        if self._away:
            self._away = False
            self.log.info("schedules go on")
        if self._settled:  # other transactions have locked their rows
            self._look_in(HELD_S)
        if len(claim.rows) == room and self._room:
            self._look_in(0.0)  # more may be due; without room the first answers bring a look

    def _take(self, claim: Claim, room: int, asked_s: float) -> None:
        """Deliver the claimed schedules, and plan the next look."""
        now_s = self.system.now()
        self._ahead_us = claim.now_us - (asked_s + now_s) / 2 * 1e6
        if now_s - asked_s < CLAIM_S / 2:  # else the claims may lapse before they are settled
            for claimed in claim.rows:
                self._deliver(claimed, claim.now_us)
        look_every_s = self._settings.look_every_s
        full = len(claim.rows) == room
        self._look_in(look_every_s if full else wait_s(claim.now_us, claim.later_us, look_every_s))

    @property
    def _room(self) -> int:
        return max(self._settings.in_flight - len(self._flying) - len(self._settled), 0)

    @property
    def _crowded(self) -> bool:
        """Whether answers that are not settled take the room of due schedules."""
        return 2 * len(self._settled) >= self._settings.in_flight

    def _store_is_away(self, error: Exception) -> None:
        self._counters.failed_looks += 1
        if not self._away:
            self._away = True
            self.log.warning("schedules wait for the store", error=str(error))
        self._look_in(STORE_RETRY_S)

    async def _settle(self) -> bool:
        """Settle what was answered. Returns False if the store is away: nothing was settled."""
        some = self._settled
        if not some:
            return True
        try:
            self._settled = await self._schedules.settle(some)
        except Exception as error:  # every error of a store means that it is away
            self._store_is_away(error)
            return False
        again_us = [one.wait_us for one in some if one.wait_us is not None]
        if again_us:
            self._look_in(min(again_us) / 1e6)
        return True

    def _look_in(self, delay_s: float) -> None:
        """Plan a look in `delay_s`, unless an earlier one is planned."""
        delay_s = max(delay_s, 0.0)
        at_s = self.system.now() + delay_s
        if at_s < self._look_at_s:
            self._look_at_s = at_s
            self._bell.planned_us = at_s * 1e6 + self._ahead_us
            self.start_timer(delay_s, _Look(), name=_LOOK)

    # --- delivering ------------------------------------------------------------------------------

    def _deliver(self, claimed: Claimed, now_us: int) -> None:
        kind = claimed.kind
        if not self.system.registered(kind) and self.system.lookup(kind, claimed.key) is None:
            self._put_off(claimed)
            return
        counters = self._counters
        counters.delivered += 1
        if claimed.attempt == 1:
            counters.late_s = (now_us - claimed.due_us) / 1e6
        fired = Fired(claimed.id, claimed.name, claimed.payload, claimed.due_us, claimed.attempt)
        future = self.system.ref(kind, claimed.key).ask(
            fired, timeout=self._settings.answer_timeout_s
        )
        self._flying[claimed] = future
        counters.in_flight = len(self._flying)
        self.pipe_to_self(future, partial(_Answered, claimed))

    @handles(_Answered)
    def answered(self, message: _Answered) -> None:
        """Note an answer. It is settled in a moment, together with others."""
        claimed, error = message.claimed, message.done.exception()
        del self._flying[claimed]
        self._counters.in_flight = len(self._flying)
        if error is None:
            self._counters.acknowledged += 1
            self._settled.append(Settled(claimed))
        else:
            self._failed(claimed, error)
        if not self._away:
            self._look_in(0.0 if self._crowded else SETTLE_S)

    def _failed(self, claimed: Claimed, error: BaseException) -> None:
        log = self.log.bind(
            target=f"{claimed.kind}/{claimed.key}", name=claimed.name, id=claimed.id,
            attempt=claimed.attempt, error=repr(error),
        )  # fmt: skip
        self._counters.failed += 1
        if claimed.attempt >= self._settings.max_attempts:
            self._counters.given_up += 1
            log.error("schedule given up", due_us=claimed.due_us, bytes=len(claimed.payload))
            self._settled.append(Settled(claimed))
            return
        # `Backoff` counts restarts, and the first restart has no delay; so ask for the next one.
        delay_s = self._backoff.delay_s(claimed.attempt + 1, self.system.random)
        log.info("schedule not acknowledged", again_in_s=round(delay_s, 1))
        self._settled.append(Settled(claimed, round(delay_s * 1e6)))

    def _put_off(self, claimed: Claimed) -> None:
        """Put off a schedule whose kind this node does not have.

        Another node may have it, or its service was taken out of the server for a while.
        """
        self._counters.homeless += 1
        if claimed.kind not in self._unknown_kinds:
            self._unknown_kinds.add(claimed.kind)
            self.log.warning(
                "schedules of a kind that is not here are put off", target_kind=claimed.kind
            )
        wait_us = round(self._settings.max_retry_s * 1e6)
        self._settled.append(Settled(claimed, wait_us, kept=True))


def wait_s(now_us: int, later_us: int | None, look_every_s: float) -> float:
    """Return how long to wait for the next due schedule, in seconds; see `Claim.later_us`."""
    if later_us is None:
        return look_every_s
    if later_us <= now_us:
        return HELD_S
    return min(look_every_s, (later_us - now_us) / 1e6)


def scheduler_spec(
    schedules: ScheduleStore, settings: ScheduleSettings, bell: Bell, counters: ScheduleCounters
) -> ChildSpec:
    """Return the spec by which a supervisor starts the scheduler."""
    make: Callable[[], Scheduler] = partial(Scheduler, schedules, settings, bell, counters)
    return ChildSpec(id="0", factory=make)
