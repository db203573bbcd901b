"""`WebhookSender`: takes events that are due, and sends them."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

import msgspec
import structlog
import trio
from pykka import ActorDeadError

from actors.facts import Facts
from actors.runtime.actor import Actor
from actors.runtime.future import Future
from actors.runtime.handlers import handles
from actors.runtime.restart import Backoff
from actors.webhooks.rows import DueEvent, DueEvents, SettleTry, TakeDue, TidyWebhooks
from actors.webhooks.settings import WebhookSettings
from protocol.http.posting import Poster, PostOutcome
from protocol.http.signature import signature

SENDER: Final = "webhook-sender"
TIDY_EVERY_S: Final = 60.0
SETTLES_WITHIN_S: Final = 30.0
"""How long after a try another node may take the event, at the latest: it was told nothing."""
GONE: Final = 410
"""The status by which a receiver says that it wants no more."""

log = structlog.get_logger("actors.webhooks.sender")


def pause_s(attempt: int, settings: WebhookSettings, rng: random.Random) -> float:
    """Return the pause after a try that failed: doubled each time, and up to a fifth shorter."""
    pauses = Backoff(first_s=settings.first_retry_s, max_s=settings.longest_retry_s, jitter=0.2)
    return pauses.delay_s(attempt + 1, rng)


def verdict(
    event: DueEvent, posted: PostOutcome, settings: WebhookSettings, rng: random.Random
) -> SettleTry:
    """Return what is to be written down of a try."""
    if posted.taken:
        return SettleTry(event.id, taken=True, outcome=posted.outcome, again_s=None)
    again_s: float | None = pause_s(event.attempt, settings, rng)
    if event.age_s >= settings.dead_after_s:
        again_s = None
    stopped = "the receiver has answered 410 Gone" if posted.status == GONE else None
    return SettleTry(
        event.id, taken=False, outcome=posted.outcome[:200], again_s=again_s, stopped=stopped
    )


class _Look(msgspec.Struct, frozen=True, gc=False):
    """Timer: take what is due."""


class _Tidy(msgspec.Struct, frozen=True, gc=False):
    """Timer: tidy up."""


class _Taken(msgspec.Struct, frozen=True):
    done: Future[Any]


class _Sent(msgspec.Struct, frozen=True, gc=False):
    """An event was sent, or was not, and that is written down."""


class WebhookSender(Actor):
    """Sends events, a bounded number at once. Every node has one.

    Arguments:
        facts: has the rows.
        poster: sends.
        settings: the section of webhooks.
        counts: counts tries, by what became of them.
        start: starts a function in the background.
    """

    def __init__(
        self,
        facts: Facts,
        poster: Poster,
        settings: WebhookSettings,
        counts: Counter[str],
        start: Callable[[Callable[..., Coroutine[Any, Any, None]], DueEvent], Any],
    ) -> None:
        super().__init__()
        self._facts = facts
        self._poster = poster
        self._settings = settings
        self._counts = counts
        self._start = start
        self._sending = 0
        self._taking = False
        self._rng = random.Random()

    def on_start(self) -> None:
        self.start_ticks(self._settings.look_every_s, _Look(), name="look")
        self.start_ticks(TIDY_EVERY_S, _Tidy(), name="tidy")

    @handles(_Tidy, local=True)
    def tidy(self, _: _Tidy) -> None:
        """Delete what is too old."""
        settings = self._settings
        done = self._facts.execute(
            TidyWebhooks(settings.dead_kept_s, settings.waiting), user=SENDER
        )
        done.when_done(lambda _: None)

    @handles(_Look, local=True)
    def look(self, _: _Look) -> None:
        """Take as many events as may be sent now."""
        free = self._settings.at_once - self._sending
        if free > 0 and not self._taking:
            self._taking = True
            lease_s = self._settings.timeout_s + SETTLES_WITHIN_S
            self.pipe_to_self(self._facts.execute(TakeDue(free, lease_s), user=SENDER), _Taken)

    @handles(_Taken, local=True)
    def taken(self, message: _Taken) -> None:
        """Send them."""
        self._taking = False
        if message.done.exception() is None:
            found: DueEvents = message.done.result()
            for event in found.events:
                self._sending += 1
                self._start(self._send, event)

    @handles(_Sent, local=True)
    def sent(self, _: _Sent) -> None:
        """Take the next ones: more may be due."""
        self._sending -= 1
        self.look(_Look())

    async def _send(self, event: DueEvent) -> None:
        try:
            body, now_s = event.body.encode(), int(time.time())
            headers = (
                ("content-type", "application/json"),
                ("user-agent", "greenroom-webhooks"),
                ("webhook-id", event.id),
                ("webhook-timestamp", str(now_s)),
                ("webhook-signature", signature(event.secret, event.id, now_s, body)),
            )
            posted = await self._poster.post(event.url, headers, body)
            settled = verdict(event, posted, self._settings, self._rng)
            how = "taken" if posted.taken else "failed" if settled.again_s is not None else "dead"
            self._counts[how] += 1
            if not posted.taken:
                log.info("webhook failed", message=event.id, attempt=event.attempt, outcome=how)
            with trio.move_on_after(SETTLES_WITHIN_S):
                await self._facts.execute(settled, user=SENDER)
        except Exception as error:  # another node, or this one, tries again after the lease
            log.warning("webhook not settled", message=event.id, error=repr(error))
        finally:
            with suppress(ActorDeadError):  # the node stops
                self.actor_ref.notify(_Sent())
