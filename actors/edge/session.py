"""A player's session: the actor behind a connection, which outlives it for a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final

import msgspec

from actors.edge.activations import Activations
from actors.edge.connected_client import ConnectedClient
from actors.edge.doorman import Share
from actors.edge.identity import Identity
from actors.edge.memberships import Answered, Memberships, PartAgain
from actors.edge.routes import AskSession, Route
from actors.edge.rules.bucket import ClientLimits
from actors.edge.settings import SessionSettings
from actors.edge.tokens import Tokens
from actors.edge.topic_messages import TopicGone
from actors.edge.topics import Topics
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
from protocol.messages.envelope import Position, Request
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

    `routes`: of each type of request one. `clock_ms`: milliseconds since 1970, UTC. `keepalive_s`
    and `max_message_bytes` are the wire's, for clients to know.
    """

    settings: SessionSettings
    topics: Topics
    tokens: Tokens
    clock_ms: Callable[[], int]
    keepalive_s: float
    max_message_bytes: int
    activations: Activations
    routes: Mapping[type[Request], Route]


class Session(Actor):
    """Who a client is, which topics it is in, and the way of its requests to their actors.

    No handler waits: a request becomes an `ask`, and its reply goes from the asked actor straight
    into the connection's outbox. Requests come as the wire decoded them, within the rate limits.

    Arguments:
        who: whose session it is; its key is the actor's.
        limits: the client's, which a new connection does not reset.
        share: in what its address may do; None: that has no limits.
    """

    def __init__(
        self,
        who: Identity,
        limits: ClientLimits,
        context: Context,
        share: Share | None = None,
    ) -> None:
        super().__init__()
        self.who = who
        self._limits = limits
        self._context = context
        self._share = share
        self._topics = context.topics
        self._client: ConnectedClient | None = None
        self.memberships: Memberships

    # --- its life --------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Be in no topic yet."""
        context = self._context
        self.memberships = Memberships(
            self,
            context.settings,
            self.who,
            activations=context.activations,
            share=self._share,
        )

    @handles(Attach)
    def attach(self, message: Attach) -> None:
        """Serve the connection from here on."""
        who = self.who
        client = self._topics.link(who.session)
        if not isinstance(client, ConnectedClient) or client.id != message.connection:
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
                session=who.session,
                user=who.user,
                name=who.name,
                token=context.tokens.issue(who.session, who.user, who.name),
                resumed=message.resumed,
                resume_within_s=context.settings.resume_within_s,
                keepalive_s=context.keepalive_s,
                max_message_bytes=context.max_message_bytes,
            ),
        )
        self.memberships.attach(client, message.positions)

    @handles(Detach)
    def detach(self, message: Detach) -> None:
        """Wait for the client to come back."""
        # The hub knows whose it is now; a connection may have gone before we attached it.
        if not self._topics.detach(self.who.session, message.connection):
            return
        self._client = None
        self.memberships.detach()
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
        self._topics.end(self.who.session)  # the owners of its topics watch, and remove it
        if self._client is not None:
            self._client.session = None
            self._client.close(code)

    # --- requests --------------------------------------------------------------------------------

    @handles(Request)
    def request(self, request: Request) -> None:
        """Serve a request by the route of its op. The answer passes this actor by."""
        client = self._client
        if client is not None:
            route = self._context.routes[type(request)]
            if route.outlives or not client.connection.closed:
                route.serve(self, client, request)

    def answer_ping(self, client: ConnectedClient, request: Ping) -> None:
        """Answer at once."""
        if client.may_ask(request.ref):
            client.ok(request.ref, Pong(self._context.clock_ms()))

    def refuse_second(self, client: ConnectedClient, request: SessionOpen | SessionResume) -> None:
        """There is a session on this connection already."""
        client.refuse(RequestError(SESSION_OPEN), request.ref)

    def close(self, client: ConnectedClient, request: SessionClose) -> None:
        """End: leave every room, answer, close the connection. A match keeps the place a while."""
        if client.may_ask(request.ref):
            client.ok(request.ref)
            client.close(NORMAL)
            self.stop()

    # --- what its topics answer ------------------------------------------------------------------

    @handles(Answered)
    def answered(self, message: Answered) -> None:
        """Note how a membership stands. The client has its answer already."""
        self.memberships.answered(message)

    @handles(PartAgain)
    def part_again(self, message: PartAgain) -> None:
        """Ask for what is still owed."""
        self.memberships.part_again(message.topic)

    @handles(TopicGone)
    def topic_gone(self, message: TopicGone) -> None:
        """Be in a topic no more. It comes in order with the answers of the topic's owner."""
        self.memberships.gone(message.topic)


ROUTES: Final[Mapping[type[Request], Route]] = {
    Ping: AskSession(Session.answer_ping),
    SessionOpen: AskSession(Session.refuse_second),
    SessionResume: AskSession(Session.refuse_second),
    SessionClose: AskSession(Session.close, outlives=True),
}
"""Of requests to the session itself."""


def configured(context: Context) -> type[Session]:
    """Return the class of a node's sessions: one whose mailbox is as the settings say."""

    class ConfiguredSession(Session):
        # Full, it makes the connection wait to be read from: that is what "wait" is for.
        mailbox = MailboxSpec(capacity=context.settings.mailbox, on_full="wait")

    return ConfiguredSession
