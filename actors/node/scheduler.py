"""The scheduler: delivers durable schedules when they are due.

One in a node; it waits for the next due time with one timer, whether ten schedules wait or a
million. PostgreSQL says what is due, by its clock; trio's clock only says when to ask next. So a
clock that is ahead or behind costs a look more, or `look_every_s`, and nothing is early.
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
"""How long a claim lasts beyond the time that its target has. After a crash of the node, what was
being delivered comes again then."""
HELD_S: Final = 0.05
"""Between looks at a row that is due and that somebody works on."""
SETTLE_S: Final = 0.02
"""From an answer to the look that settles it, together with others; a crash meanwhile brings them
again."""
STORE_RETRY_S: Final = 1.0
DRAIN_S: Final = 3.0
"""When it stops, what is being delivered has so long to be acknowledged."""
_LOOK: Final = "look"


class Fired(msgspec.Struct, frozen=True):
    """To the target of a schedule: its time has come.

    It may come more than once, each time with the same `id`: a handler that returns has
    acknowledged it, and one that raises gets it again. One set again or moved has another `id`.
    `due_us`: when it was to be, in microseconds since 1970, UTC. `attempt` counts from 1.
    """

    id: int
    name: str
    payload: bytes
    due_us: int
    attempt: int


@dataclass(slots=True)
class ScheduleCounters:
    """What a scheduler counts, over all its incarnations."""

    delivered: int = 0
    """Handed to their targets, each attempt."""
    acknowledged: int = 0
    failed: int = 0
    """Attempts that were refused, failed, or not answered in time."""
    given_up: int = 0
    homeless: int = 0
    """Attempts put off as this node knows no such kind."""
    looks: int = 0
    failed_looks: int = 0
    """At a store that was away."""
    in_flight: int = 0
    late_s: float = 0.0
    """How long after its time the last one was claimed, first attempts only."""


class Bell:
    """Wakes the scheduler when something is due before it would look again. From any thread."""

    def __init__(self) -> None:
        self.scheduler: ActorRef | None = None
        self.planned_us = -math.inf
        """When it will look; infinity while it looks, as it may just have missed something."""

    def ring(self, due_us: int) -> None:
        """Something is due then, and committed."""
        if due_us < self.planned_us and self.scheduler is not None:
            # If it cannot take it, it looks when it is back, or at the end of its mailbox.
            with suppress(ActorDeadError, MailboxFull):
                self.scheduler.tell(_Earlier(due_us))


class _Earlier(msgspec.Struct, frozen=True, gc=False):
    """Something is due at this time."""

    due_us: int


class _Look(msgspec.Struct, frozen=True, gc=False):
    """Timer: settle what has been answered, and see what is due."""


class _Answered(msgspec.Struct, frozen=True):
    """A target has acknowledged, or not."""

    claimed: Claimed
    done: Future[Any]


class Scheduler(Actor):
    """Claims what is due, asks its targets, and settles what they have answered.

    At most `settings.in_flight` are held at once; what else is due waits in the table. It waits for
    the store in its own turn, so that one look follows the other, and for no target.
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
        """Let what is being delivered be acknowledged, and give back the rest."""
        self._bell.scheduler = None
        with trio.move_on_after(DRAIN_S):
            for future in self._flying.values():
                with suppress(Exception):  # what it was is looked at below
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
        """Look when this is due, unless a look comes before."""
        self._look_in((message.due_us - self._ahead_us) / 1e6 - self.system.now())

    @handles(_Look)
    async def look(self, _: _Look) -> None:
        """Claim what is due and deliver it; settle what was answered; wait for what is next."""
        self._look_at_s = self._bell.planned_us = math.inf
        self._counters.looks += 1
        # What is due goes first, unless it might be what was answered while the store was away.
        if (self._away or self._crowded) and not await self._settle():
            return
        room = self._room
        asked_s = self.system.now()
        try:
            claim = await self._schedules.claim(room, self._claim_s)
        except Exception as error:  # whatever a store raises means: not now
            self._store_is_away(error)
            return
        self._take(claim, room, asked_s)
        if not await self._settle():
            return
        if self._away:
            self._away = False
            self.log.info("schedules go on")
        if self._settled:  # somebody works on their rows
            self._look_in(HELD_S)
        if len(claim.rows) == room and self._room:
            self._look_in(0.0)  # more may be due; without room the first answers bring a look

    def _take(self, claim: Claim, room: int, asked_s: float) -> None:
        """Deliver, and plan the next look."""
        now_s = self.system.now()
        self._ahead_us = claim.now_us - (asked_s + now_s) / 2 * 1e6
        if now_s - asked_s < CLAIM_S / 2:  # else others may soon take them for lapsed
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
        """Whether what is to be settled keeps others from being delivered."""
        return 2 * len(self._settled) >= self._settings.in_flight

    def _store_is_away(self, error: Exception) -> None:
        self._counters.failed_looks += 1
        if not self._away:
            self._away = True
            self.log.warning("schedules wait for the store", error=str(error))
        self._look_in(STORE_RETRY_S)

    async def _settle(self) -> bool:
        """Settle what has been answered; False: the store is away, and nothing was settled."""
        some = self._settled
        if not some:
            return True
        try:
            self._settled = await self._schedules.settle(some)
        except Exception as error:  # whatever a store raises means: not now
            self._store_is_away(error)
            return False
        again_us = [one.wait_us for one in some if one.wait_us is not None]
        if again_us:
            self._look_in(min(again_us) / 1e6)
        return True

    def _look_in(self, delay_s: float) -> None:
        """Look then, or before if that is planned."""
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
        """Note what is to be settled, with what others answer in a moment."""
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
        # Its nth restart is the attempt after the nth; the first of those would be at once.
        delay_s = self._backoff.delay_s(claimed.attempt + 1, self.system.random)
        log.info("schedule not acknowledged", again_in_s=round(delay_s, 1))
        self._settled.append(Settled(claimed, round(delay_s * 1e6)))

    def _put_off(self, claimed: Claimed) -> None:
        """Its kind may be another node's, or of a service that was taken out for a while."""
        self._counters.homeless += 1
        if claimed.kind not in self._unknown_kinds:
            self._unknown_kinds.add(claimed.kind)
            self.log.warning(
                "schedules of a kind that is not here are put off", target_kind=claimed.kind
            )
        wait_us = round(self._settings.max_retry_s * 1e6)
        self._settled.append(Settled(claimed, wait_us, kept=True))


def wait_s(now_us: int, later_us: int | None, look_every_s: float) -> float:
    """How long to wait for what is due next."""
    if later_us is None:
        return look_every_s
    if later_us <= now_us:
        return HELD_S
    return min(look_every_s, (later_us - now_us) / 1e6)


def scheduler_spec(
    schedules: ScheduleStore, settings: ScheduleSettings, bell: Bell, counters: ScheduleCounters
) -> ChildSpec:
    """A scheduler as a supervisor starts it."""
    make: Callable[[], Scheduler] = partial(Scheduler, schedules, settings, bell, counters)
    return ChildSpec(id="0", factory=make)
