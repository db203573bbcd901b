"""A session for its user: rooms, matches, the inbox, storage, and requests to the server."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import msgspec
import trio

from protocol.errors import ERRORS, NOT_JOINED
from protocol.messages import AnyServerMessage
from protocol.messages.envelope import Position, Request
from protocol.messages.inbox import InboxJoin, InboxState
from protocol.messages.match import (
    MatchCreate,
    MatchCreated,
    MatchEnded,
    Matches,
    MatchJoin,
    MatchList,
    MatchState,
    MatchSummary,
)
from protocol.messages.op import op_of
from protocol.messages.room import RoomJoin, RoomState
from protocol.messages.session import (
    Ping,
    Pong,
    SessionOpen,
    SessionOpened,
    SessionResume,
    TopicLost,
)
from protocol.remote.access import AccessSource
from protocol.remote.accounts import Accounts
from protocol.remote.calls import key_or_new
from protocol.remote.channel import Channel
from protocol.remote.errors import (
    ClientError,
    Disconnected,
    RequestFailed,
    RequestTimedOut,
    TopicGone,
)
from protocol.remote.friends import Friends
from protocol.remote.inbox import Inbox, InboxPush
from protocol.remote.link import Endpoint
from protocol.remote.match import Match, MatchPush
from protocol.remote.room import Room, RoomPush
from protocol.remote.settings import ClientSettings, Status
from protocol.remote.storage import Storage

T = TypeVar("T")
Followed = Room | Match | Inbox


class Session:
    """The session that `connect` opens. Any number of tasks may use it at once.

    Every method that asks the server may raise `RequestFailed`, `RequestTimedOut` and
    `Disconnected`; and `ConnectionLost` for a request that must not be sent twice, because it has
    no idempotency key.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        greeting: SessionOpen | SessionResume,
        access: AccessSource | None,
        settings: ClientSettings,
        rng: random.Random,
    ) -> None:
        self._settings = settings
        self._rng = rng
        self._topics: dict[str, Followed] = {}
        self._leaving: Counter[str] = Counter()  # leaves of a topic that are under way
        self._losses: Counter[str] = Counter()  # how often a topic was lost for a moment
        self._rejoining: dict[str, trio.Event] = {}  # the topics that are lost for a moment
        self.storage = Storage(self)
        """The objects of the session's user on the server."""
        self.friends = Friends(self)
        """The friends, requests and blocks of the session's user."""
        self.accounts = Accounts(self)
        """The account of the session's user, and those of others."""
        self.channel = Channel(
            endpoint, greeting, access, settings=settings, rng=rng, follower=self
        )

    @property
    def opened(self) -> SessionOpened:
        """The session's `user` and `name`, its `token`, and the server's limits."""
        assert self.channel.opened is not None
        return self.channel.opened

    @property
    def connected(self) -> bool:
        """Whether there is a connection. Requests wait for one until their deadline."""
        return self.channel.connected

    def statuses(self) -> AsyncIterator[Status]:
        """Yield breaks and returns of the connection until the session ends.

        If more than 64 wait to be read, the oldest are dropped.
        """
        return self.channel.statuses

    async def join(self, room: str) -> Room:
        """Join a room. If the session is in the room already, the same object is returned.

        If this is cancelled or times out after its request was sent, the answer still counts: the
        session is then in the room, and another `join` returns it. (The client does not leave at
        once, because that could give up the place of a player who only comes back to a match.)
        """
        return await self._join(f"room:{room}", RoomJoin(room=room), Room)

    async def join_match(self, match: str) -> Match:
        """Take a place in a match, or come back to the user's place. When cancelled, see `join`."""
        return await self._join(f"match:{match}", MatchJoin(match=match), Match)

    async def inbox(self) -> Inbox:
        """Join the user's inbox, which is the same on all devices. When cancelled, see `join`."""
        return await self._join(f"user:{self.opened.user}", InboxJoin(), Inbox)

    async def create_match(
        self, game: str, params: dict[str, Any] | None = None, *, key: str | None = ""
    ) -> Match:
        """Create a match of `game` and join it.

        Arguments:
            game: the name of the game in the server's configuration.
            params: parameters of the game.
            key: the idempotency key; by default one is made. None: no key, and it is never sent
                twice.
        """
        request = MatchCreate(game=game, params=params or {}, key=key_or_new(key))
        created = await self.request(request, MatchCreated)
        return await self.join_match(created.match)

    async def matches(self, game: str | None = None, *, limit: int = 50) -> list[MatchSummary]:
        """Return running matches, newest first, of one game or of all."""
        return (await self.request(MatchList(game=game, limit=limit), Matches)).matches

    async def ping(self) -> float:
        """Return the time to the server and back, in seconds."""
        began = trio.current_time()
        await self.request(Ping(), Pong)
        return trio.current_time() - began

    async def request(
        self, request: Request, answer: type[T], *, timeout_s: float | None = None
    ) -> T:
        """Send any request; return its answer.

        Arguments:
            request: a request of protocol.messages; its `ref` is set here.
            answer: the type of the answer's data.
            timeout_s: the deadline in seconds; None: the settings'.

        Raises:
            EncodeError: a value in it cannot be encoded.
        """

        def convert(data: Any) -> T:
            return msgspec.convert(data, answer)

        result: T = await self.channel.call(request, convert, timeout_s)
        return result

    async def request_in(self, topic: str, request: Request, answer: type[T]) -> T:
        """Send a request about a topic that the session is in; return its answer.

        A server that has lost the topic for a moment refuses the request, which has not acted then.
        It is sent again once the session has joined the topic again.
        """
        limit_s = self._settings.request_timeout_s
        deadline = trio.current_time() + limit_s
        while True:
            losses = self._losses[topic]
            with trio.move_on_at(deadline):
                await self._rejoined(topic)
            left_s = deadline - trio.current_time()
            if left_s <= 0:
                raise RequestTimedOut(op_of(request), limit_s, sent=False)
            try:
                return await self.request(request, answer, timeout_s=left_s)
            except RequestFailed as failed:
                lost = self._losses[topic] != losses and topic in self._topics
                if failed.code != NOT_JOINED.code or not lost:
                    raise

    async def _rejoined(self, topic: str) -> None:
        """Wait until a topic that is lost for a moment is joined again, or lost for good."""
        rejoining = self._rejoining.get(topic)
        if rejoining is not None:
            await rejoining.wait()

    async def leave(self, topic: str, request: Request) -> None:
        """Leave a topic (`room:...`, `match:...`, `user:...`) by this request.

        The session is in the topic until the answer comes, and resumes it after a break.
        """

        def left(_data: Any) -> None:
            not_left()
            followed = self._topics.pop(topic, None)
            if followed is not None:
                followed.feed.close()

        def not_left() -> None:
            self._leaving[topic] -= 1
            if not self._leaving[topic]:
                del self._leaving[topic]

        self._leaving[topic] += 1
        await self.channel.call(request, left, on_lost=not_left)

    async def _join(self, topic: str, request: Request, kind: type[T]) -> T:
        def joined(data: Any) -> Followed:
            known = self._topics.get(topic)
            if known is None:  # else another join was answered first, or a leave was refused
                known = self._topics[topic] = self._follow(data, kind)
            return known

        known = self._topics.get(topic)
        if known is None or topic in self._leaving:
            known = await self.channel.call(request, joined, on_lost=lambda: None)
        assert isinstance(known, kind)
        return known

    def _follow(self, data: Any, kind: type[Any]) -> Followed:
        buffer = self._settings.buffer
        if kind is Room:
            return Room(self, msgspec.convert(data, RoomState), buffer)
        if kind is Inbox:
            return Inbox(self, msgspec.convert(data, InboxState), buffer)
        return Match(self, msgspec.convert(data, MatchState), self.opened.user, buffer)

    # --- for the channel -----------------------------------------------------------------------

    def positions(self) -> dict[str, Position]:
        """Return the position on each topic."""
        return {topic: followed.position for topic, followed in self._topics.items()}

    def pushed(self, push: AnyServerMessage, nursery: trio.Nursery | None) -> None:
        """Give a push to its room, match or inbox."""
        if isinstance(push, TopicLost):
            row = ERRORS.get(push.code)
            if row is not None and row.retry and nursery is not None:
                self._losses[push.topic] += 1
                over = self._rejoining.setdefault(push.topic, trio.Event())
                nursery.start_soon(self._rejoin, push.topic, over)
            else:
                self._gone(push.topic, push.code)
        elif isinstance(push, MatchPush):
            match = self._topics.get(f"match:{push.match}")
            if isinstance(match, Match):
                match.pushed(push)
            if isinstance(push, MatchEnded):
                self._topics.pop(f"match:{push.match}", None)
        elif isinstance(push, RoomPush):
            room = self._topics.get(f"room:{push.room}")
            if isinstance(room, Room):
                room.pushed(push)
        elif isinstance(push, InboxPush):
            inbox = self._topics.get(f"user:{push.user}")
            if isinstance(inbox, Inbox):
                inbox.pushed(push)

    def ended(self, why: Disconnected | None) -> None:
        """End every iteration."""
        for rejoining in self._rejoining.values():
            rejoining.set()
        for followed in self._topics.values():
            followed.feed.close(None if why is None else why.again())
        self._topics.clear()

    async def _rejoin(self, topic: str, over: trio.Event) -> None:
        """Join a topic again that was lost for a reason that may pass, and then set the event.

        A break of the connection ends the attempts, because the next resume names the topic.
        """
        try:
            await self._try_to_rejoin(topic)
        finally:
            if self._rejoining.get(topic) is over:
                del self._rejoining[topic]
            over.set()

    async def _try_to_rejoin(self, topic: str) -> None:
        for attempt in itertools.count():
            await trio.sleep(self._settings.backoff.wait_s(attempt, self._rng))
            followed = self._topics.get(topic)
            if followed is None:
                return
            if topic in self._leaving:
                continue  # a join behind the leave would undo it
            try:
                await self.channel.call(followed.join_request(), followed.rejoined)
            except RequestTimedOut:
                continue
            except RequestFailed as failed:
                if failed.retry:
                    continue
                self._gone(topic, failed.code)
            except ClientError:
                pass  # the session is over, and its topics know
            return

    def _gone(self, topic: str, code: str) -> None:
        followed = self._topics.pop(topic, None)
        if followed is not None:
            followed.feed.close(TopicGone(topic, code))
