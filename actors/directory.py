"""The directory of matches: creates them, lists them, and brings them back after a start."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec
from pykka import ActorDeadError

from actors.failures import Refused
from actors.matches.host import MatchHost
from actors.matches.messages import MatchReport, StartMatch
from actors.matches.referee import convert_input
from actors.messages import DIRECTORY, Create, List
from actors.runtime.errors import MailboxFull, Refusal
from actors.runtime.future import Future
from actors.runtime.handlers import handles
from actors.runtime.kinds import Kind
from actors.runtime.mailbox import MailboxSpec
from actors.runtime.persistence import PersistentActor
from protocol.errors import OUT_OF_RANGE, TOO_MANY_MATCHES, UNKNOWN_GAME
from protocol.messages import MatchCreated, Matches, MatchSummary

SWEEP_S: Final = 30.0
"""How often ended matches are forgotten, and silent ones asked how they stand."""
WAKE_EVERY_S: Final = 0.05
WAKE_AT_ONCE: Final = 20
"""After a start so many matches are woken at a time, 400 a second, so that their recoveries do not
keep players' first requests waiting."""


class Opened(msgspec.Struct, frozen=True, gc=False, tag="match.opened"):
    """A match was created; `at` in milliseconds since 1970, UTC."""

    match: str
    game: str
    params: dict[str, Any]
    seed: int
    at: int
    user: str
    key: str | None = None


class Closed(msgspec.Struct, frozen=True, gc=False, tag="match.closed"):
    """A match is over. `reason` is the match's own word, or why it could not be made."""

    match: str
    reason: str
    at: int


class Entry(msgspec.Struct):
    """What the directory knows of a match. `closed_at`: milliseconds since 1970; None: it runs."""

    opened: Opened
    closed_at: int | None = None

    @property
    def running(self) -> bool:
        return self.closed_at is None


class Wake(msgspec.Struct, frozen=True, gc=False):
    """To the directory: be there, with all running matches. Sent once by a server that starts."""


class _WakeSome(msgspec.Struct, frozen=True, gc=False):
    """Timer: wake the next few."""


class _Sweep(msgspec.Struct, frozen=True, gc=False):
    """Timer: forget what ended long ago; ask matches that have not reported."""


class Directory(PersistentActor):
    """All matches that run, and for a while those that ran. One of it in the server."""

    events: ClassVar[tuple[type[msgspec.Struct], ...]] = (Opened, Closed)
    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=4096)

    def __init__(self, host: MatchHost) -> None:
        super().__init__()
        self._host = host
        self._entries: dict[str, Entry] = {}  # oldest first
        self._running = 0
        self._keys: dict[tuple[str, str], str] = {}  # (user, idempotency key) -> match
        # Not persistent: of the matches that reported to this incarnation.
        self._players: dict[str, int] = {}
        self._opening: dict[str, Future[Any]] = {}  # match -> it is there
        self._to_wake: list[str] = []

    # --- state -----------------------------------------------------------------------------------

    def apply(self, event: Opened | Closed) -> None:
        match event:
            case Opened():
                self._enter(Entry(event))
            case Closed() if event.match in self._entries:
                self._entries[event.match].closed_at = event.at
                self._running -= 1
                self._players.pop(event.match, None)

    def _enter(self, entry: Entry) -> None:
        opened = entry.opened
        self._entries[opened.match] = entry
        self._running += entry.running
        if opened.key is not None:
            self._keys[opened.user, opened.key] = opened.match

    def snapshot(self) -> Any:
        return list(self._entries.values())

    def restore(self, state: Any, schema: int) -> None:  # noqa: ARG002 - there is one so far
        for entry in msgspec.convert(state, list[Entry]):
            self._enter(entry)

    def on_recovered(self) -> None:
        self._forget_old()
        self._to_wake = [name for name, entry in self._entries.items() if entry.running]
        self.start_ticks(SWEEP_S, _Sweep(), name="sweep")
        if self._to_wake:
            self.log.info("matches_found", running=len(self._to_wake))
            self.start_timer(0.0, _WakeSome(), name="wake")

    # --- for players -----------------------------------------------------------------------------

    @handles(Create)
    def create(self, message: Create) -> Any:
        """Create a match, once for each idempotency key of a user."""
        if message.key is not None:
            before = self._keys.get((message.user, message.key))
            if before is not None:
                return self._opening.get(before, MatchCreated(before))
        game = self._host.games.get(message.game)
        if game is None:
            raise Refused(UNKNOWN_GAME)
        if self._running >= self._host.settings.max_matches:
            raise Refused(TOO_MANY_MATCHES)
        convert_input(message.params, game.params_type, "params")
        opened = Opened(
            match=self._host.name_match(message.game),
            game=message.game,
            params=message.params,
            seed=self._host.new_seed(),
            at=self._host.clock_ms(),
            user=message.user,
            key=message.key,
        )
        created: Future[Any] = Future(self.system.home)
        self.persist(opened).on_done(lambda done: self._open(opened, done, created))
        self._opening[opened.match] = created
        return created

    def _open(self, opened: Opened, durable: Future[Any], created: Future[Any]) -> None:
        # The directory knows of it for good; so even if this process ends here, the match comes to
        # be when it wakes what it knows.
        error = durable.exception()
        if error is not None:
            created.settle_quietly(error=error)
            return
        match = self.system.ref("match", opened.match).ask(_start_of(opened))
        match.on_done(lambda done: self._made(opened, done, created))

    def _made(self, opened: Opened, made: Future[Any], created: Future[Any]) -> None:
        self._opening.pop(opened.match, None)
        error = made.exception()
        if error is None:
            created.settle_quietly(MatchCreated(opened.match))
        else:  # a game that will not be made has its match report so
            created.settle_quietly(error=error)

    @handles(List)
    def list(self, message: List) -> Matches:
        """Running matches, newest first."""
        limit = self._host.settings.list_limit
        if message.limit > limit:
            raise Refused(OUT_OF_RANGE, f"limit: at most {limit}")
        found = []
        for name, entry in reversed(self._entries.items()):
            opened = entry.opened
            game = self._host.games.get(opened.game)
            if not entry.running or game is None or message.game not in {None, opened.game}:
                continue
            found.append(
                MatchSummary(
                    name, opened.game, self._players.get(name, 0), game.max_players, opened.at
                )
            )
            if len(found) == message.limit:
                break
        return Matches(found)

    # --- for matches -----------------------------------------------------------------------------

    @handles(MatchReport)
    def report(self, message: MatchReport) -> None:
        """A match says how it stands."""
        entry = self._entries.get(message.match)
        if entry is None or not entry.running:
            return
        if message.ended is None:
            self._players[message.match] = message.players
            return
        self.log.info("match_closed", match=message.match, reason=message.ended)
        try:
            self.persist(Closed(message.match, message.ended, self._host.clock_ms()))
        except Refusal as refusal:  # the sweep asks it again
            self.log.warning("end_not_logged", match=message.match, reason=str(refusal))
            self._players.pop(message.match, None)

    @handles(Wake)
    def wake(self, _message: Wake) -> int:
        """How many matches run. To have been asked is enough: `on_recovered` wakes them."""
        return self._running

    @handles(_WakeSome)
    def wake_some(self, _message: _WakeSome) -> None:
        """Wake the next few of those that ran before."""
        some, self._to_wake = self._to_wake[:WAKE_AT_ONCE], self._to_wake[WAKE_AT_ONCE:]
        for name in some:
            entry = self._entries.get(name)
            if entry is None or not entry.running or name in self._opening:
                continue
            try:
                self.system.ref("match", name).tell(_start_of(entry.opened))
            except (MailboxFull, ActorDeadError) as error:  # it failed, or is flooded: next sweep
                self.log.warning("match_not_woken", match=name, error=repr(error))
        if self._to_wake:
            self.start_timer(WAKE_EVERY_S, _WakeSome(), name="wake")

    @handles(_Sweep)
    def sweep(self, _message: _Sweep) -> None:
        """Forget what ended long ago, and ask running matches that have not reported."""
        self._forget_old()
        if not self._to_wake:
            self._to_wake = [
                name
                for name, entry in self._entries.items()
                if entry.running and name not in self._players
            ]
            self.wake_some(_WakeSome())

    def _forget_old(self) -> None:
        before = self._host.clock_ms() - int(self._host.settings.remember_ended_s * 1000)
        old = [
            name
            for name, entry in self._entries.items()
            if entry.closed_at is not None and entry.closed_at < before
        ]
        for name in old:
            opened = self._entries.pop(name).opened
            if opened.key is not None and self._keys.get((opened.user, opened.key)) == name:
                del self._keys[opened.user, opened.key]


def _start_of(opened: Opened) -> StartMatch:
    return StartMatch(opened.game, opened.params, opened.seed, opened.at)


def directory_kind(host: MatchHost) -> Kind:
    """Return the kind for `ActorSystem.register`. A server then tells `DIRECTORY` to `Wake`."""

    class ConfiguredDirectory(Directory):
        def __init__(self, _key: str) -> None:
            super().__init__(host)

    return Kind(name=DIRECTORY[0], factory=ConfiguredDirectory, restart="permanent")
