"""What clients notice of a restart or a death: players who talk and play, and a log of what came.

They are clients of the project's own library: they reconnect and resume as real ones do, with their
back-off and jitter. No request is made again by the load itself.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack

import msgspec
import trio

from protocol.client import (
    ClientError,
    ClientSettings,
    Gap,
    Match,
    Reconnecting,
    RequestFailed,
    Room,
    Session,
    connect,
)

GOAL = 1000
"""Points that end a match of the arena: the most that it accepts, so that none ends meanwhile."""
INPUTS_PER_S = 4.0
GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
"""Players begin at multiples of this, modulo 1, of their period: any few are spread evenly."""
PATIENT = ClientSettings(connect_timeout_s=60.0, request_timeout_s=60.0)


class Silence:
    """The longest time in which something that should come all the time did not come."""

    __slots__ = ("_last_s", "longest_s")

    def __init__(self) -> None:
        self._last_s = math.nan
        self.longest_s = 0.0

    def heard(self) -> None:
        """It has come."""
        now = trio.current_time()
        self.longest_s = max(self.longest_s, now - self._last_s)
        self._last_s = now

    def begin(self) -> None:
        """Look from here on."""
        self._last_s, self.longest_s = trio.current_time(), 0.0


class Longest(msgspec.Struct, frozen=True):
    """Of some times: what half of them, 99 in 100 and all of them do not exceed, in seconds."""

    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, times_s: Iterable[float]) -> Longest:
        found = sorted(times_s) or [0.0]
        last = len(found) - 1
        return cls(*(round(found[math.ceil(last * part)], 3) for part in (0.5, 0.99, 1.0)))


class InterruptedPlayer:
    """One client: the rooms and the match that it is in, and what it has heard of each."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.silence = Silence()
        self.reconnects = 0
        self.rooms: list[Room] = []
        self.match: Match | None = None
        self.heard: dict[str, Counter[str]] = {}
        """Bodies of messages by room, each with the number of times that it came."""
        self.gaps = 0
        """Messages that are missing, as the client's library says."""

    async def count_breaks(self) -> None:
        """Count the attempts to connect that follow a break, until cancelled."""
        async for status in self.session.statuses():
            self.reconnects += isinstance(status, Reconnecting) and status.attempt == 1

    async def listen(self, room: Room) -> None:
        """Note what is said in a room, until cancelled."""
        heard = self.heard[room.name] = Counter()
        async for message in room:
            self.silence.heard()
            if isinstance(message, Gap):
                self.gaps += message.last - message.first + 1 if message.cause != "void" else 0
            else:
                heard[message.body] += 1

    async def watch(self, match: Match, pause: Silence) -> None:
        """Note the states of a match, until cancelled."""
        async for _ in match:
            self.silence.heard()
            pause.heard()


class Crowd:
    """All players, and what came of what they did.

    Arguments:
        stack: closes the connections.
        rng: for the order in which they act.

    Attributes:
        acked: the bodies that were acknowledged, by room.
        failed: how many requests failed, by why.
        rooms: the longest time that each took to acknowledge a send, in seconds, of a client whose
            connection held meanwhile.
        pauses: how long each was without an acknowledged send, of whomever.
        matches: how long each was without a new state.
    """

    def __init__(self, stack: AsyncExitStack, rng: random.Random) -> None:
        self.players: list[InterruptedPlayer] = []
        self.acked: dict[str, list[str]] = {}
        self.inputs = 0
        self.failed: Counter[str] = Counter()
        self.rooms: dict[str, float] = {}
        self.pauses: dict[str, Silence] = {}
        self.matches: dict[str, Silence] = {}
        self.stalled_s = 0.0
        self._stack = stack
        self._rng = rng
        self._talks = True

    async def gather(self, url: str, rooms: int, members: int, matches: int) -> None:
        """Connect two players for each two members of a room: each player is in two rooms."""
        names = [f"room-{number}" for number in range(rooms)]
        places = names * members
        for number in range(0, len(places), 2):
            name = f"player-{number // 2}"
            session = await self._stack.enter_async_context(
                connect(url, name=name, settings=PATIENT)
            )
            player = InterruptedPlayer(session)
            self.players.append(player)
            for room in {places[number], places[(number + 1) % len(places)]}:
                player.rooms.append(await session.join(room))
        for one, other in list(zip(self.players[::2], self.players[1::2], strict=False))[:matches]:
            one.match = await one.session.create_match("arena", {"goal": GOAL})
            other.match = await other.session.join_match(one.match.id)
        self.rooms = dict.fromkeys(names, 0.0)
        self.pauses = {name: Silence() for name in names}
        self.acked = {name: [] for name in names}
        self.matches = {
            player.match.id: Silence() for player in self.players if player.match is not None
        }

    def start(self, nursery: trio.Nursery, sends_per_s: float) -> None:
        """Have all of them listen, talk and play. `sends_per_s`: to each room."""
        nursery.start_soon(self._note_stalls)
        each_s = len(self.players) / (sends_per_s * len(self.rooms))
        phases = (number * GOLDEN % 1.0 for number in itertools.count())
        for player in self.players:
            nursery.start_soon(player.count_breaks)
            for room in player.rooms:
                nursery.start_soon(player.listen, room)
            nursery.start_soon(self._talk, player, each_s, next(phases) * each_s)
            if player.match is not None:
                nursery.start_soon(player.watch, player.match, self.matches[player.match.id])
                nursery.start_soon(self._play, player, player.match)

    def longest(self) -> Sequence[Longest]:
        """Return the longest silences of clients; acknowledgements and pauses of rooms; and pauses
        of matches, so far.
        """
        return (
            Longest.of(player.silence.longest_s for player in self.players),
            Longest.of(self.rooms.values()),
            Longest.of(room.longest_s for room in self.pauses.values()),
            Longest.of(match.longest_s for match in self.matches.values()),
        )

    def begin(self) -> None:
        """Look for pauses from here on."""
        self.stalled_s = 0.0
        self.rooms = dict.fromkeys(self.rooms, 0.0)
        for silence in self._silences():
            silence.begin()

    def _silences(self) -> Iterable[Silence]:
        yield from (player.silence for player in self.players)
        yield from self.pauses.values()
        yield from self.matches.values()

    async def end(self, within_s: float = 30.0) -> None:
        """Talk no more; return once all that was acknowledged has come to all, or after a while."""
        self._talks = False
        with trio.move_on_after(within_s):
            while self.lost():
                await trio.sleep(0.1)

    def lost(self) -> int:
        """Return how many acknowledged messages have not come to members, over all members."""
        return sum(
            body not in player.heard[room.name]
            for player in self.players
            for room in player.rooms
            for body in self.acked[room.name]
        )

    def doubled(self) -> int:
        """Return how many messages came again to a member that had them."""
        return sum(
            count - 1
            for player in self.players
            for heard in player.heard.values()
            for count in heard.values()
        )

    # --- what players do -------------------------------------------------------------------------

    async def _talk(self, player: InterruptedPlayer, each_s: float, first_s: float) -> None:
        number = 0
        await trio.sleep(first_s)
        while self._talks:
            due_s = trio.current_time() + each_s
            room = player.rooms[number % len(player.rooms)]
            body = f"{player.session.opened.user} {number}"
            number += 1
            began_s, breaks = trio.current_time(), player.reconnects
            held = player.session.connected
            try:
                await room.send(body)
            except ClientError as error:
                self._note(error)
            else:
                player.silence.heard()
                self.pauses[room.name].heard()
                if held and player.session.connected and breaks == player.reconnects:
                    took_s = trio.current_time() - began_s
                    self.rooms[room.name] = max(self.rooms[room.name], took_s)
                self.acked[room.name].append(body)
            await trio.sleep_until(due_s)

    async def _play(self, player: InterruptedPlayer, match: Match) -> None:
        while self._talks:
            due_s = trio.current_time() + 1.0 / INPUTS_PER_S
            push = {"x": self._rng.uniform(-1, 1), "y": self._rng.uniform(-1, 1)}
            try:
                await match.input(push)
            except ClientError as error:
                self._note(error)
            else:
                player.silence.heard()
                self.inputs += 1
            await trio.sleep_until(due_s)

    def _note(self, error: ClientError) -> None:
        code = error.code if isinstance(error, RequestFailed) else type(error).__name__
        self.failed[code] += 1

    async def _note_stalls(self) -> None:
        while True:
            due_s = trio.current_time() + 0.01
            await trio.sleep_until(due_s)
            self.stalled_s = max(self.stalled_s, trio.current_time() - due_s)
