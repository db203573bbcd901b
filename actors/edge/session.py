"""A player's session: the actor behind a connection, which outlives it for a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType

import msgspec

from actors.chat.messages import ListMembers, Post, ReadHistory, room_topic
from actors.edge.activations import Activations
from actors.edge.connected_client import Client
from actors.edge.doorman import Share
from actors.edge.memberships import Answered, PartAgain, Places
from actors.edge.rules.bucket import ClientLimits
from actors.edge.settings import SessionSettings
from actors.edge.tokens import Tokens
from actors.edge.topic_messages import TopicGone
from actors.edge.topics import Topics
from actors.matches.messages import DIRECTORY, Create, Input, List, Repeat, match_topic
from actors.runtime.actor import Actor
from actors.runtime.handlers import handles
from actors.runtime.mailbox import MailboxSpec
from protocol.errors import (
    NORMAL,
    SESSION_ENDED,
    SESSION_FAILED,
    SESSION_OPEN,
    CloseCode,
    RequestError,
)
from protocol.messages.envelope import Position
from protocol.messages.match import MatchCreate, MatchInput, MatchJoin, MatchLeave, MatchList
from protocol.messages.room import RoomHistory, RoomJoin, RoomLeave, RoomMembers, RoomSend
from protocol.messages.session import (
    Ping,
    Pong,
    SessionClose,
    SessionOpen,
    SessionOpened,
    SessionResume,
)

KIND = "session"


class Attach(msgspec.Struct, frozen=True, gc=False):
    """The hub has a connection for this session: answer its open or resume, and go on from there.

    `connection` names it; by the time this is handled a newer one may have come.
    """

    connection: int
    ref: int | None
    resumed: bool
    positions: Mapping[str, Position]


class Detach(msgspec.Struct, frozen=True, gc=False):
    """A connection of this session has ended."""

    connection: int


class Expire(msgspec.Struct, frozen=True, gc=False):
    """Nobody has come back in time."""


class Context(msgspec.Struct, frozen=True):
    """What all sessions of a node share.

    `clock_ms`: milliseconds since 1970, UTC. `keepalive_s` and `max_message_bytes` are the wire's,
    for clients to know.
    """

    settings: SessionSettings
    topics: Topics
    tokens: Tokens
    clock_ms: Callable[[], int]
    keepalive_s: float
    max_message_bytes: int
    activations: Activations


class Session(Actor):
    """Who a client is, which topics it is in, and the way of its requests to their actors.

    No handler waits: a request becomes an `ask`, and its reply goes from the asked actor straight
    into the connection's outbox. Requests come as the wire decoded them, within the rate limits.

    Arguments:
        session: the key of the actor.
        limits: the client's, which a new connection does not reset.
        share: in what its address may do; None: that has no limits.
    """

    def __init__(  # noqa: PLR0917 - the system starts an actor with positional arguments
        self,
        session: str,
        user: str,
        name: str,
        limits: ClientLimits,
        context: Context,
        share: Share | None = None,
    ) -> None:
        super().__init__()
        self._session = session
        self._user = user
        self._name = name
        self._limits = limits
        self._context = context
        self._share = share
        self._topics = context.topics
        self._clock_ms = context.clock_ms
        self._client: Client | None = None
        self._places: Places

    # --- its life --------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Be in no topic yet."""
        context = self._context
        self._places = Places(
            self,
            context.settings,
            self._session,
            self._user,
            self._name,
            activations=context.activations,
            share=self._share,
        )

    @handles(Attach)
    def attach(self, message: Attach) -> None:
        """Serve the connection from here on."""
        client = self._topics.link(self._session)
        if not isinstance(client, Client) or client.id != message.connection:
            return  # it has ended, or been taken over, while this was on its way
        if client.connection.closed:
            return  # nothing is brought to life for one that has gone; its `Detach` is on its way
        self._client = client
        client.limits = self._limits
        self.cancel_timer("expire")
        context = self._context
        client.ok(
            message.ref,
            SessionOpened(
                session=self._session,
                user=self._user,
                name=self._name,
                token=context.tokens.issue(self._session, self._user, self._name),
                resumed=message.resumed,
                resume_within_s=context.settings.resume_within_s,
                keepalive_s=context.keepalive_s,
                max_message_bytes=context.max_message_bytes,
            ),
        )
        self._places.attach(client, message.positions)

    @handles(Detach)
    def detach(self, message: Detach) -> None:
        """Wait for the client to come back."""
        # The hub knows whose it is now; a connection may have gone before we attached it.
        if not self._topics.detach(self._session, message.connection):
            return
        self._client = None
        self._places.detach()
        resume_within_s = self._context.settings.resume_within_s
        if resume_within_s:
            self.start_timer(resume_within_s, Expire(), name="expire")
        else:
            self.stop()

    @handles(Expire)
    def expire(self, _: Expire) -> None:
        """End."""
        self.stop()

    def on_stop(self) -> None:
        """Whoever is still connected is told that it is over, unless told why before."""
        self._end(SESSION_ENDED)

    def on_failure(
        self,
        exception_type: type[BaseException] | None,  # noqa: ARG002 - Pykka's hook
        exception_value: BaseException | None,  # noqa: ARG002
        traceback: TracebackType | None,  # noqa: ARG002
    ) -> None:
        """The client comes back with its token, as a new session of the same user."""
        self._end(SESSION_FAILED)

    def _end(self, code: CloseCode) -> None:
        self._topics.end(self._session)  # the owners of its topics watch, and remove it
        if self._client is not None:
            self._client.session = None
            self._client.close(code)

    def _who_hears(self) -> Client | None:
        """The client, if it can still be told anything.

        What only tells it something (a question, a join, a match made for it to join) is dropped
        once its connection is closed: a flood is over when it goes, and not when all that it had
        sent is worked off for nobody. What others see of it (a send, an input, a leave) acts, and
        so does the end of the session: whoever says it and goes has said it.
        """
        client = self._client
        return None if client is None or client.connection.closed else client

    # --- requests about itself -------------------------------------------------------------------

    @handles(Ping)
    def ping(self, request: Ping) -> None:
        """Answer at once."""
        client = self._who_hears()
        if client is not None and client.may_ask(request.ref):
            client.ok(request.ref, Pong(self._clock_ms()))

    @handles(SessionOpen, SessionResume)
    def open_again(self, request: SessionOpen | SessionResume) -> None:
        """There is a session on this connection already."""
        if self._client is not None:
            self._client.refuse(RequestError(SESSION_OPEN), request.ref)

    @handles(SessionClose)
    def close(self, request: SessionClose) -> None:
        """End: leave every room, answer, close the connection. A match keeps the place a while."""
        client = self._client
        if client is not None and client.may_ask(request.ref):
            client.ok(request.ref)
            client.close(NORMAL)
            self.stop()

    # --- requests to rooms -----------------------------------------------------------------------

    @handles(RoomJoin)
    def join_room(self, request: RoomJoin) -> None:
        """Pass a join on."""
        client = self._who_hears()
        if client is not None:
            self._places.join(client, request.ref, room_topic(request.room))

    @handles(RoomLeave)
    def leave_room(self, request: RoomLeave) -> None:
        """Pass a leave on."""
        if self._client is not None:
            self._places.leave(self._client, request.ref, room_topic(request.room))

    @handles(RoomSend)
    def send(self, request: RoomSend) -> None:
        """Pass a message on; the answer comes after its commit."""
        if self._client is not None:
            message = Post(self._session, request.body, request.key)
            self._places.pass_on(self._client, request.ref, room_topic(request.room), message)

    @handles(RoomHistory)
    def history(self, request: RoomHistory) -> None:
        """Pass a question on."""
        client = self._who_hears()
        if client is not None:
            message = ReadHistory(self._session, request.before, request.limit)
            self._places.pass_on(client, request.ref, room_topic(request.room), message)

    @handles(RoomMembers)
    def members(self, request: RoomMembers) -> None:
        """Pass a question on."""
        client = self._who_hears()
        if client is not None:
            message = ListMembers(self._session)
            self._places.pass_on(client, request.ref, room_topic(request.room), message)

    # --- requests to matches ---------------------------------------------------------------------

    @handles(MatchCreate)
    def create_match(self, request: MatchCreate) -> None:
        """Ask the directory."""
        client, share = self._who_hears(), self._share
        if client is not None:
            message = Create(
                self._user,
                request.game,
                request.params,
                request.key,
                address=None if share is None else share.address,
            )
            self._places.create(client, request.ref, self.system.ref(*DIRECTORY), message)

    @handles(MatchList)
    def list_matches(self, request: MatchList) -> None:
        """Ask the directory."""
        client = self._who_hears()
        if client is not None and client.may_ask(request.ref):
            message = List(request.game, request.limit)
            self._places.ask(client, request.ref, self.system.ref(*DIRECTORY), message)

    @handles(MatchJoin)
    def join_match(self, request: MatchJoin) -> None:
        """Pass a join on."""
        client = self._who_hears()
        if client is not None:
            self._places.join(client, request.ref, match_topic(request.match))

    @handles(MatchLeave)
    def leave_match(self, request: MatchLeave) -> None:
        """Pass a leave on."""
        if self._client is not None:
            self._places.leave(self._client, request.ref, match_topic(request.match))

    @handles(MatchInput)
    def input(self, request: MatchInput) -> None:
        """Pass an input on."""
        client, topic = self._client, match_topic(request.match)
        if client is None:
            return
        if topic in self._places:
            message = Input(self._session, self._user, request.seq, request.input)
            self._places.pass_on(client, request.ref, topic, message)
        elif request.ref is not None and not client.connection.closed:
            again = Repeat(self._session, self._user, request.seq, request.input)
            self._places.repeat(client, request.ref, topic, again)

    # --- what its topics answer ------------------------------------------------------------------

    @handles(Answered)
    def answered(self, message: Answered) -> None:
        """Note how a membership stands. The client has its answer already."""
        self._places.answered(message)

    @handles(PartAgain)
    def part_again(self, message: PartAgain) -> None:
        """Ask for what is still owed."""
        self._places.part_again(message.topic)

    @handles(TopicGone)
    def topic_gone(self, message: TopicGone) -> None:
        """Be in a topic no more. It comes in order with the answers of the topic's owner."""
        self._places.gone(message.topic)


def configured(context: Context) -> type[Session]:
    """Return the class of a node's sessions: one whose mailbox is as the settings say."""

    class ConfiguredSession(Session):
        # Full, it makes the connection wait to be read from: that is what "wait" is for.
        mailbox = MailboxSpec(capacity=context.settings.mailbox, on_full="wait")

    return ConfiguredSession
