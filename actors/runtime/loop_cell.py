"""The cell of an actor in the event loop: it takes messages and hands them to handlers."""

from __future__ import annotations

from time import perf_counter
from types import CoroutineType
from typing import Any

import pykka
import structlog
from pykka._envelope import Envelope  # Pykka's own type crosses its inbox seam

from .cell import Seat, State
from .dispatcher import SLICE_S, SLOW_HANDLER_S
from .errors import MailboxFull, Quarantined, Refusal, Stashed, UnhandledMessage, bare
from .future import Future
from .lifecycle import LoopLife
from .mailbox import Control, Mailbox
from .messages import ORDERS
from .panic import presentable, shown
from .quarantine import Quarantine
from .reply import REPLIES
from .system_view import SystemView

_log = structlog.get_logger("actors")
_RUNNING = State.RUNNING


class LoopCell(LoopLife):
    """Runs an `Actor`. The base class begins and ends it; this class handles its messages."""

    __slots__ = ("quarantine",)

    def __init__(self, system: SystemView, seat: Seat, mailbox: Mailbox) -> None:
        super().__init__(system, seat, mailbox)
        self.quarantine: Quarantine | None = None  # made at the first crash

    # --- messages in -----------------------------------------------------------------------------

    def tell(self, message: Any) -> None:
        self.put(message)
        self.wake()

    def put(self, item: Any) -> None:
        """Put an item into the mailbox by the mailbox's policy. Raises MailboxFull."""
        try:
            lost = self.mailbox.put(item)
        except MailboxFull as error:
            self.system.refused += 1
            raise MailboxFull(f"{self.name}: {error}") from None
        if lost is not None:
            self._lose(lost)

    def ask(self, message: Any, future: Future[Any]) -> None:
        try:
            self.put(Envelope(message, future))
        except MailboxFull as error:
            future.settle_quietly(error=error)
            return
        if self.claimed:
            return
        self.claimed = True
        dispatcher = self.dispatcher
        if not dispatcher.entered and not dispatcher.queue:
            # No other actor waits or runs, so this one answers at once in the asker's task. That
            # saves two task switches: an ask takes 3 us instead of 13.
            dispatcher.run_now(self)
        else:
            dispatcher.enqueue(self)

    def tell_from_thread(self, message: Any) -> None:
        mailbox = self.mailbox
        if mailbox.full() and mailbox.spec.on_full == "refuse":
            mailbox.refused += 1
            self.system.refused += 1
            raise MailboxFull(f"{self.name}: the mailbox holds its {mailbox.capacity} messages")
        if mailbox.full() and mailbox.spec.on_full == "wait":
            admitted: Future[bool] = Future()
            self.system.call_soon(self.wait_for_room, message, admitted)
            try:
                admitted.get(timeout=self.system.default_timeout_s)
            except pykka.Timeout:
                admitted.expire()
                raise MailboxFull(
                    f"{self.name}: no room in the mailbox before the deadline"
                ) from None
            return
        self.ref.tell_soon(message)

    def tell_or_wait(self, message: Any) -> Future[bool] | None:
        if self.mailbox.spec.on_full != "wait" or not self.mailbox.full():
            self.tell(message)
            return None
        admitted: Future[bool] = Future(self.system.home)
        self.wait_for_room(message, admitted)
        return admitted

    def wait_for_room(self, message: Any, admitted: Future[bool]) -> None:
        """Take the message when there is room, then set the future."""
        if self.alive:
            self.mailbox.wait_for_room(message, admitted)
            self.wake()
        else:
            admitted.settle_quietly(error=pykka.ActorDeadError(f"{self.name} has ended"))

    def _lose(self, item: Any) -> None:
        """Answer the asker, or add a dead letter, for an item that a full mailbox dropped."""
        self.system.dropped += 1
        if type(item) is Envelope:
            reply: Any = item.reply_to
            reply.settle_quietly(error=MailboxFull(f"{self.name} dropped the message"))
        else:
            self.system.dead_letters.add(self.ref, item, "mailbox full")

    # --- one at a time out -----------------------------------------------------------------------

    # One long function on purpose: each call would add 50 ns to the 400 that a message takes.
    def run(self, limit: int) -> int:  # noqa: C901, PLR0912, PLR0915 -- see above
        """Handle up to `limit` messages, and return how many that was.

        The dispatcher calls this.
        """
        if self.state is not _RUNNING:
            if self.state is State.STARTING:
                self.start_up()
            return 1
        mailbox = self.mailbox
        queue = mailbox.queue
        actor = self.actor
        assert actor is not None
        table = actor.actor_handlers
        dispatcher = self.dispatcher
        started = perf_counter()
        until = started + SLICE_S
        handled = 0
        try:
            while queue and handled < limit:
                item = queue.popleft()
                handled += 1
                message_type = type(item)
                reply: Any = None
                if message_type is Envelope:
                    message = item.message
                    message_type = type(message)
                    reply = item.reply_to
                elif message_type is Control:
                    mailbox.controls -= 1
                    if item.source is not None and not item.source.take(item):
                        continue
                    message = item.message
                    message_type = type(message)
                    if message_type in ORDERS:
                        self.obey(message)
                        return handled
                else:
                    message = item
                if self.quarantine is not None and self._quarantined(item, message, reply):
                    continue
                dispatcher.message = message
                try:
                    result = table[message_type](actor, message)
                except BaseException as error:
                    if not self._raised(error, item, reply):
                        return handled
                    started = perf_counter()
                    continue
                now = perf_counter()
                if now > until:
                    limit = 0
                    if now - started > SLOW_HANDLER_S:
                        dispatcher.note_slow(self, message, now - started)
                started = now
                if result is not None and type(result) is CoroutineType:
                    self.occupy(self._finish(result, item, reply))
                    return handled
                if reply is not None:
                    if REPLIES[type(result)]:
                        reply.follow(result)
                    else:
                        reply.settle_quietly(result)
        finally:
            self.handled += handled
            if mailbox.waiting is not None:
                mailbox.admit()
        if queue:
            dispatcher.enqueue(self)
        else:
            self.claimed = False
        return handled

    async def _finish(self, handler: CoroutineType[Any, Any, Any], item: Any, reply: Any) -> None:
        """Await an async handler, then go on with the mailbox."""
        try:
            result = await handler
        except BaseException as error:
            if self.ends_worker(error):
                if self.quarantine is not None:
                    self.quarantine.note_cancelled()
                if reply is not None:
                    reply.settle_quietly(error=pykka.ActorDeadError(f"{self.name} was cancelled"))
                raise
            self.leave_worker()
            if self._raised(error, item, reply):
                self.go_on()
            return
        self.leave_worker()
        if reply is not None:
            if REPLIES[type(result)]:
                reply.follow(result)
            else:
                reply.settle_quietly(result)
        self.go_on()

    def _raised(self, error: BaseException, item: Any, reply: Any) -> bool:
        """Deal with an exception of a handler, and return whether the actor goes on."""
        message = item.message if isinstance(item, Envelope) else item
        if isinstance(error, Stashed):
            self.put_aside(item)
            return True
        if isinstance(error, Refusal):
            bare(error)
            if reply is not None:
                reply.settle_quietly(error=error)
            elif isinstance(error, UnhandledMessage):
                self.system.dead_letters.add(self.ref, message, "unhandled")
            else:
                _log.debug("refused", kind=self.kind, key=self.key, error=shown(error))
            return True
        if reply is not None:
            reply.settle_quietly(error=presentable(error))
        # Messages of the runtime are not held: all ticks of a timer are equal, and none is to
        # blame.
        if type(item) is not Control:
            if self.quarantine is None:
                self.quarantine = Quarantine(self.policy.quarantine)
            self.quarantine.record(message, self.system.now())
        self.fail(error, type(message).__name__)
        return False

    def _quarantined(self, item: Any, message: Any, reply: Any) -> bool:
        """Return whether the message is held. If so, answer the asker or add a dead letter."""
        quarantine = self.quarantine
        assert quarantine is not None
        if type(item) is Control:
            return False
        held_s = quarantine.holds(message, self.system.now())
        if not held_s:
            if quarantine.empty:
                self.quarantine = None
            return False
        self.system.quarantined += 1
        name = type(message).__name__
        _log.warning("quarantined", kind=self.kind, key=self.key, message=name, s=round(held_s, 1))
        if reply is not None:
            reply.settle_quietly(error=Quarantined(self.name, name, held_s))
        else:
            self.system.dead_letters.add(self.ref, message, "quarantined")
        return True
