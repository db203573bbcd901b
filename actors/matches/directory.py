"""The directory of matches: it creates and lists them, and wakes them after the server starts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, ClassVar, Final, NoReturn

import msgspec
from pykka import ActorDeadError

from actors.edge.failures import Refused, with_others
from actors.edge.topic_messages import ComeBack
from actors.edge.warden import guard
from actors.matches.host import MatchHost
from actors.matches.messages import (
    DIRECTORY,
    Create,
    Disown,
    List,
    MatchReport,
    RollCall,
    StartMatch,
)
from actors.matches.rules.register import Closed, Opened, Register, Stock
from actors.matches.standing import Standing
from actors.runtime.errors import AskTimeout, MailboxFull, Refusal
from actors.runtime.future import Future
from actors.runtime.handlers import handles
from actors.runtime.kinds import Kind
from actors.runtime.mailbox import MailboxSpec
from actors.runtime.persistence import PersistentActor
from protocol.errors import (
    OUT_OF_RANGE,
    TOO_LONG,
    TOO_MANY_MATCHES,
    UNAVAILABLE,
    UNKNOWN_GAME,
)
from protocol.messages.match import MatchCreated, Matches, MatchSummary

SWEEP_S: Final = 30.0
"""How often the directory forgets old keys, and asks matches that have not reported."""
WAKE_EVERY_S: Final = 0.05
WAKE_AT_ONCE: Final = 20
"""How many matches are woken at once after a start, every WAKE_EVERY_S.

That makes 400 a second, so that their recoveries do not delay the players' first requests.
"""
MAKE_AGAIN_S: Final = 60.0
"""After how many seconds a match that has not answered is asked again.

The store may have been away.
"""
AGAIN_S: Final = 0.5
"""The least retry time, in seconds, that a client is told when there are too many matches.

A match that ends must be logged first.
"""
STOCK_EVERY: Final = 1_000
"""How many events are logged before the next `Stock`, plus one for every two entries of the
register. A recovery reads no more events than that, and the `Stock`s make the log at most three
times as long."""


class Wake(msgspec.Struct, frozen=True, gc=False):
    """Starts the directory, which wakes all running matches.

    A server sends it once when it starts.
    """


class _Made(msgspec.Struct, frozen=True):
    """A match that was asked to start has answered, or has failed to."""

    opened: Opened
    start: StartMatch
    done: Future[Any]


class _Announced(msgspec.Struct, frozen=True, gc=False):
    """The `Opened` of a match is committed."""

    match: str


class _WakeSome(msgspec.Struct, frozen=True, gc=False):
    """Timer: wake the next few matches."""


class _Sweep(msgspec.Struct, frozen=True, gc=False):
    """Timer: forget old keys; ask matches that have not reported."""


class Directory(PersistentActor):
    """Knows all running matches, and for a while the idempotency keys of ended ones.

    A server has one.

    A match is created by its own actor, since the game has to check the params. It is entered here
    after that, so a match whose params the game refuses leaves nothing behind. If the server ends
    in between, a match is left in the store that no directory knows. It does not run, since nothing
    wakes it.

    The directory has no snapshots, since the whole of it would be encoded every few seconds.
    Instead it logs everything it knows now and then, as a `Stock`. A recovery reads the last
    `Stock` and the events after it.
    """

    events: ClassVar[tuple[type[msgspec.Struct], ...]] = (Opened, Closed, Stock)
    checkpoint: ClassVar[type[msgspec.Struct] | None] = Stock
    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=4096)

    def __init__(self, host: MatchHost) -> None:
        super().__init__()
        self._host = host
        self._register = Register(host.settings.ended_keys)
        self._stock_seq = 0
        self._from_snapshot = False
        self._standing = Standing(int(host.settings.unjoined_after_s * 1000))
        self._answers: dict[str, Future[Any]] = {}  # match -> the answer that its creator waits for
        self._to_wake: list[str] = []

    # --- state -----------------------------------------------------------------------------------

    def apply(self, event: Opened | Closed | Stock) -> None:
        self._register.apply(event)
        if isinstance(event, Stock):
            self._stock_seq = self.seq
        elif isinstance(event, Closed):
            self._standing.gone(event.match)

    def restore(self, state: Any, schema: int) -> None:  # noqa: ARG002 - there was one
        """Take over a snapshot from a version whose log had no `Stock`."""
        for entry in msgspec.convert(state, list[_Listed]):
            self._register.apply(entry.opened)
            if entry.closed_at is not None:
                self._register.apply(Closed(entry.opened.match, "", entry.closed_at))
        self._from_snapshot = True

    def on_start(self) -> None:
        """Begin to wake the running matches, a few at a time."""
        guard(self.system, self.actor_ref, comes_back=True)
        self._forget_old()
        self._to_wake = list(self._register.running)
        self.start_ticks(SWEEP_S, _Sweep(), name="sweep")
        if self._to_wake:
            self.log.info("matches_found", running=len(self._to_wake))
            self.start_timer(0.0, _WakeSome(), name="wake")

    def on_stop(self) -> None:
        self._let_go()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,  # noqa: ARG002 - Pykka's hook
        exception_value: BaseException | None,  # noqa: ARG002
        traceback: TracebackType | None,  # noqa: ARG002
    ) -> None:
        self._let_go()

    def _let_go(self) -> None:
        for answer in self._answers.values():
            answer.settle_quietly(error=Refused(UNAVAILABLE, "the directory is restarting"))

    def _take_stock(self, *, now: bool = False) -> None:
        """Log a `Stock` once enough events have come since the last one."""
        since = self.seq - self._stock_seq
        if since < STOCK_EVERY + len(self._register) // 2 and not now:
            return
        try:
            self.persist(self._register.stock())
        except Refusal as refusal:  # the next event, or the sweep, tries again
            self.log.warning("stock_not_taken", reason=str(refusal))
            return
        if self._from_snapshot:
            self._from_snapshot = False
            self.discard_snapshot()  # else every recovery would begin with the old snapshot

    # --- for players -----------------------------------------------------------------------------

    @handles(Create)
    def create(self, message: Create) -> Any:
        """Create a match. A user's requests with the same idempotency key create one match.

        Returns a `MatchCreated`, or a future of one.

        Raises:
            Refused: UNKNOWN_GAME, TOO_LONG or TOO_MANY_MATCHES. The future can fail with what the
                game refuses the params with.
            StoreBusy: too many retries wait for the first try.
        """
        register, settings = self._register, self._host.settings
        if message.key is not None:
            before = register.find(message.who.user, message.key)
            if before is not None:
                first = self._answers.get(before)
                return MatchCreated(before) if first is None else with_others(first)
        if message.game not in self._host.games:
            raise Refused(UNKNOWN_GAME)
        if len(msgspec.msgpack.encode(message.params)) > settings.params_bytes:
            raise Refused(TOO_LONG, f"params: at most {settings.params_bytes} bytes of msgpack")
        self._check_limits(message.who.user, message.who.address)
        opened = Opened(
            match=self._host.name_match(message.game),
            game=message.game,
            at=self._host.clock_ms(),
            user=message.who.user,
            key=message.key,
        )
        register.reserve(opened)
        self._standing.reserve(opened, message.who.address)
        answer = self._answers[opened.match] = Future(self.system.home)
        start = StartMatch(opened.game, message.params, self._host.new_seed(), opened.at)
        self._make(opened, start)
        return answer

    def _check_limits(self, user: str, address: str | None) -> None:
        """Raise `Refused` if the user, its address or the server has as many matches as it may.

        Only the size of the params has been checked by now. The game checks the rest in the match's
        actor, so that an error of the game fails the match and not the directory.
        """
        register, standing, settings = self._register, self._standing, self._host.settings
        most = settings.max_matches_of_address
        if register.count_of(user) >= settings.max_matches_of_user:
            detail = f"{settings.max_matches_of_user} of this user run"
            self._no_room(detail, lambda opened: opened.user == user)
        if address is not None and most and standing.count_at(address) >= most:
            detail = f"{most} that clients of this address had made run"
            self._no_room(detail, lambda opened: standing.address_of(opened.match) == address)
        if register.count() >= settings.max_matches:
            self._no_room("", lambda _: True)

    def _no_room(self, detail: str, counts: Callable[[Opened], bool]) -> NoReturn:
        left_ms = self._standing.frees_in_ms(self._host.clock_ms(), counts)
        again_s = None if left_ms is None else max(AGAIN_S, left_ms / 1000)
        raise Refused(TOO_MANY_MATCHES, detail, retry_in_s=again_s)

    def _make(self, opened: Opened, start: StartMatch) -> None:
        made = self.system.ref("match", opened.match).ask(start, timeout=MAKE_AGAIN_S)
        self.pipe_to_self(made, partial(_Made, opened, start))

    @handles(_Made)
    def made(self, message: _Made) -> None:
        """Enter a match that has started, or tell its creator why it has not."""
        opened, error = message.opened, message.done.exception()
        if isinstance(error, AskTimeout):  # the store is away; the match may start or refuse later
            self._make(opened, message.start)
            return
        if error is None and message.done.result().ended is not None:
            error = Refused(UNAVAILABLE, "it was abandoned before it could be announced")
        if error is None:
            try:
                durable = self.persist(opened, MatchCreated(opened.match))
            except Refusal as refusal:
                error = refusal
            else:
                self._standing.reported(opened.match, 0)
                self._answers[opened.match].follow(durable)
                self.pipe_to_self(durable, lambda _: _Announced(opened.match))
                self._take_stock()
                return
        self._register.release(opened.match)
        self._standing.gone(opened.match)
        self._answers.pop(opened.match).settle_quietly(error=error)
        if not isinstance(error, Refused):  # the match may exist
            self._tell(opened.match, Disown())

    @handles(_Announced)
    def announced(self, message: _Announced) -> None:
        """Forget the answer to the creator: a retry need not wait for it any more."""
        self._answers.pop(message.match, None)

    @handles(List)
    def list(self, message: List) -> Matches:
        """Return the running matches, newest first. Raises `Refused`: OUT_OF_RANGE."""
        limit = self._host.settings.list_limit
        if message.limit > limit:
            raise Refused(OUT_OF_RANGE, f"limit: at most {limit}")
        found = []
        for name, opened in reversed(self._register.running.items()):
            game = self._host.games.get(opened.game)
            if game is None or message.game not in {None, opened.game}:
                continue
            found.append(
                MatchSummary(
                    name, opened.game, self._standing.players(name), game.max_players, opened.at
                )
            )
            if len(found) == message.limit:
                break
        return Matches(found)

    # --- for matches -----------------------------------------------------------------------------

    @handles(MatchReport)
    def report(self, message: MatchReport) -> None:
        """Keep what a match reports about itself, and log its end."""
        if message.match not in self._register.running:
            return
        if message.ended is None:
            self._standing.reported(message.match, message.players)
            self._register.made(message.match)
            return
        self.log.info("match_closed", match=message.match, reason=message.ended)
        try:
            self.persist(Closed(message.match, message.ended, self._host.clock_ms()))
        except Refusal as refusal:  # the sweep asks the match again
            self.log.warning("end_not_logged", match=message.match, reason=str(refusal))
            self._standing.silent(message.match)
        else:
            self._take_stock()

    @handles(Wake)
    def wake(self, _message: Wake) -> None:
        """Do nothing: the message has started the directory, which wakes the matches."""

    @handles(ComeBack)
    def come_back(self, _: ComeBack) -> None:
        """Do nothing: the start of this actor wakes the matches."""

    @handles(_WakeSome)
    def wake_some(self, _message: _WakeSome) -> None:
        """Wake the next few matches that ran before the start."""
        some, self._to_wake = self._to_wake[:WAKE_AT_ONCE], self._to_wake[WAKE_AT_ONCE:]
        for name in some:
            opened = self._register.running.get(name)
            if opened is None:
                continue
            if opened.params is None or opened.seed is None:
                self._tell(name, RollCall())
            # An event of an older version, which may have been logged before the match was made.
            else:
                self._tell(name, StartMatch(opened.game, opened.params, opened.seed, opened.at))
        if self._to_wake:
            self.start_timer(WAKE_EVERY_S, _WakeSome(), name="wake")

    def _tell(self, match: str, message: msgspec.Struct) -> None:
        try:
            self.system.ref("match", match).tell(message)
        except (MailboxFull, ActorDeadError) as error:  # the next sweep tries again
            self.log.warning("match_not_told", match=match, error=repr(error))

    @handles(_Sweep)
    def sweep(self, _message: _Sweep) -> None:
        """Forget old keys, and ask the running matches that have not reported."""
        self._forget_old()
        self._take_stock(now=self._from_snapshot)
        if not self._to_wake:
            self._to_wake = [name for name in self._register.running if name not in self._standing]
            self.wake_some(_WakeSome())

    def _forget_old(self) -> None:
        remember_ms = int(self._host.settings.remember_ended_s * 1000)
        self._register.forget(self._host.clock_ms() - remember_ms)


class _Listed(msgspec.Struct):
    """A match in an old snapshot."""

    opened: Opened
    closed_at: int | None = None


def directory_kind(host: MatchHost) -> Kind:
    """Return the kind for `ActorSystem.register`. A server then sends `Wake` to `DIRECTORY`."""

    class ConfiguredDirectory(Directory):
        def __init__(self, _key: str) -> None:
            super().__init__(host)

    return Kind(name=DIRECTORY[0], factory=ConfiguredDirectory, restart="permanent")
