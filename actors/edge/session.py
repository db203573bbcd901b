"""A player's session: the actor behind a connection, which outlives it for a while."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Final

import msgspec

from actors.edge.access import Access, AccessEnded, Grant
from actors.edge.activations import Activations
from actors.edge.connected_client import ConnectedClient
from actors.edge.doorman import Share
from actors.edge.failures import request_error
from actors.edge.identity import Identity
from actors.edge.memberships import Memberships, PartAgain
from actors.edge.outcome import OnOutcome, nobody_told
from actors.edge.owner_answers import OwnerAnswered
from actors.edge.put_off import Drained
from actors.edge.routes import AskSession, Route
from actors.edge.rules.bucket import ClientLimits
from actors.edge.settings import SessionSettings
from actors.edge.tokens import Tokens
from actors.edge.topic_messages import PutOff, RemovedFromTopic
from actors.edge.topics import Topics
from actors.runtime.actor import Actor
from actors.runtime.future import Future
from actors.runtime.handlers import handles
from actors.runtime.mailbox import MailboxSpec
from protocol.errors import (
    BAD_TOKEN,
    NORMAL,
    SESSION_ENDED,
    SESSION_FAILED,
    SESSION_OPEN,
    TAKEN_OVER,
    TOKEN_RAN_OUT,
    CloseCode,
    RequestError,
)
from protocol.messages.envelope import Position, Request
from protocol.messages.session import (
    Ping,
    Pong,
    SessionClose,
    SessionExpiring,
    SessionOpen,
    SessionOpened,
    SessionRenew,
    SessionRenewed,
    SessionResume,
)
from protocol.roles import with_included

KIND = "session"


class Attach(msgspec.Struct, frozen=True, gc=False):
    """From the gateway: answer the open or resume that came on this connection, and serve it.

    `connection` is the connection's id. A newer connection may have come by the time that the
    session handles this message.
    """

    connection: int
    ref: int | None
    resumed: bool
    positions: Mapping[str, Position]
    grant: Grant | None = None
    """The access of the account; None: of a guest, or as the session has it."""


class Detach(msgspec.Struct, frozen=True, gc=False):
    """A connection of this session has ended."""

    connection: int


class TakenOver(msgspec.Struct, frozen=True, gc=False):
    """From the gateway of another node: a client has resumed this session there, as a new one."""


class Expire(msgspec.Struct, frozen=True, gc=False):
    """Timer: the client has not come back in time."""


class AccessRanOut(msgspec.Struct, frozen=True, gc=False):
    """Timer: the access token has run out, or, if `told`, the grace after that."""

    told: bool = False


class Context(msgspec.Struct, frozen=True):
    """What all sessions of a node share.

    Attributes:
        clock_ms: returns milliseconds since 1970, UTC.
        keepalive_s: the wire's interval, in seconds, which clients are told.
        max_message_bytes: the wire's limit, which clients are told.
        routes: the route of each type of request.
        access: knows the access tokens of accounts; None: there are guests only.
        watch: told of tokens that were refused.
    """

    settings: SessionSettings
    topics: Topics
    tokens: Tokens
    clock_ms: Callable[[], int]
    keepalive_s: float
    max_message_bytes: int
    activations: Activations
    routes: Mapping[type[Request], Route]
    access: Access | None = None
    watch: OnOutcome = nobody_told


class Session(Actor):
    """Knows its client and the topics that it is in, and passes its requests on to their actors.

    No handler of a request waits: a request becomes an `ask`, and its reply goes from the asked
    actor straight into the connection's outbox. The gateway passes on decoded requests that are
    within the rate limits.

    Arguments:
        who: the session and its user; `who.session` is the actor's key.
        limits: the client's rate limits, which a new connection does not reset.
        context: what all sessions share.
        share: the budgets shared with the session's address; None: the address has no limits.
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
        self._grant: Grant | None = None
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
            topics=self._topics,
        )

    @handles(Attach, local=True)
    def attach(self, message: Attach) -> Coroutine[Any, Any, None] | None:
        """Serve the connection from here on."""
        listener = self._topics.listener(self.who.session)
        if listener is not None and (loading := listener.blocking.loading) is not None:
            return self._serve_once_known(message, loading)
        self._serve(message)
        return None

    async def _serve_once_known(self, message: Attach, loading: Future[None]) -> None:
        """Serve the connection once it is known whom the user has blocked.

        Nothing may come from those. If that cannot be read, the session ends, and the client tries
        again.
        """
        try:
            await loading
        except Exception as error:
            client = self._topics.link(self.who.session)
            if isinstance(client, ConnectedClient) and client.id == message.connection:
                client.refuse(request_error(error), message.ref)
                self._client = client
            self._end(SESSION_FAILED)
            self.stop()
        else:
            self._serve(message)

    def _serve(self, message: Attach) -> None:
        who = self.who
        client = self._topics.link(who.session)
        if not isinstance(client, ConnectedClient) or client.id != message.connection:
            return  # the connection has ended, or a newer one has taken over
        if client.connection.closed:
            return  # no topic is resumed for a client that has gone; a `Detach` is on its way
        self._client = client
        client.limits = self._limits
        listener = self._topics.listener(who.session)
        if listener is not None:
            client.blocking = listener.blocking
        self.cancel_timer("expire")
        context = self._context
        if message.grant is not None:
            self._go_on_with(message.grant)
        grant = self._grant
        client.ok(
            message.ref,
            SessionOpened(
                session=who.session,
                user=who.user,
                name=who.name,
                token=context.tokens.issue(who.session, who.user, who.name, grant),
                resumed=message.resumed,
                resume_within_s=context.settings.resume_within_s,
                keepalive_s=context.keepalive_s,
                max_message_bytes=context.max_message_bytes,
                expires=None if grant is None else int(grant.expires * 1000),
            ),
        )
        self.memberships.attach(client, message.positions)

    @handles(Detach, local=True)
    def detach(self, message: Detach) -> None:
        """Wait for the client to come back."""
        # Ask the hub whether it is the present connection. It may have gone before it was attached.
        if not self._topics.detach(self.who.session, message.connection):
            return
        self._client = None
        self.memberships.detach()
        resume_within_s = self._context.settings.resume_within_s
        if resume_within_s:
            self.start_timer(resume_within_s, Expire(), name="expire")
        else:
            self.stop()

    @handles(Expire, local=True)
    def expire(self, _: Expire) -> None:
        """End."""
        self.stop()

    @handles(TakenOver)
    def taken_over(self, _: TakenOver) -> None:
        """End, since the client has another session by now. Its topics are resumed by that one."""
        self._end(TAKEN_OVER)
        self.stop()

    # --- access of its account -------------------------------------------------------------------

    def renew(self, client: ConnectedClient, request: SessionRenew) -> None:
        """Go on with a new access token."""
        if not client.may_ask(request.ref):
            return
        who, access = self.who, self._context.access
        try:
            if access is None:
                raise RequestError(BAD_TOKEN)
            grant = access.verify(request.access)
            if grant.user != who.user:
                raise RequestError(BAD_TOKEN, "it is of another user")
        except RequestError as error:
            client.refuse(error, request.ref)
            return
        self._go_on_with(grant)
        token = self._context.tokens.issue(who.session, who.user, who.name, grant)
        client.ok(request.ref, SessionRenewed(token, int(grant.expires * 1000)))

    def _go_on_with(self, grant: Grant) -> None:
        """Have the session go on until this access runs out, with its roles."""
        context = self._context
        self._grant = grant
        roles = with_included(grant.roles)
        if (roles, grant.sign_in) != (self.who.roles, self.who.sign_in):
            self.who = msgspec.structs.replace(self.who, roles=roles, sign_in=grant.sign_in)
            if context.access is not None:
                context.access.entered(self.who)
        self.start_timer(self._access_left_s(grant), AccessRanOut(), name="access")

    def _access_left_s(self, grant: Grant) -> float:
        return max(0.0, grant.expires - self._context.clock_ms() / 1000)

    @handles(AccessRanOut, local=True)
    def access_ran_out(self, message: AccessRanOut) -> None:
        """Tell the client that it needs a new access token, or close the connection if it has been
        told. The session then waits for the client to come back with a new one.
        """
        grant, client = self._grant, self._client
        if grant is None or client is None:
            return  # who comes back later is asked for a new one by the gateway
        left_s = self._access_left_s(grant)
        if left_s > 0:  # the clock was set back
            self.start_timer(left_s, AccessRanOut(), name="access")
        elif message.told:
            client.close(TOKEN_RAN_OUT)
        else:
            grace_s = self._context.settings.token_grace_s
            client.push(SessionExpiring(grace_s=grace_s))
            self.start_timer(grace_s, AccessRanOut(told=True), name="access")

    @handles(AccessEnded, local=True)
    def access_ended(self, message: AccessEnded) -> None:
        """End, since the account may not be here any more."""
        self._end(message.close)
        self.stop()

    def on_stop(self) -> None:
        """Close a connection that is still there."""
        self._end(SESSION_ENDED)

    def on_failure(
        self,
        exception_type: type[BaseException] | None,  # noqa: ARG002 - Pykka's hook
        exception_value: BaseException | None,  # noqa: ARG002
        traceback: TracebackType | None,  # noqa: ARG002
    ) -> None:
        """Close the connection. The client may resume with its token, in a new session."""
        self._end(SESSION_FAILED)

    def _end(self, code: CloseCode) -> None:
        self._topics.end_session(self.who.session)  # owners watch the session, and remove it
        client, self._client = self._client, None
        if client is not None:
            client.session = None
            client.close(code)

    # --- requests --------------------------------------------------------------------------------

    @handles(Request, local=True)
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
        """Refuse to open or resume: this connection has its session already."""
        client.refuse(RequestError(SESSION_OPEN), request.ref)

    def close(self, client: ConnectedClient, request: SessionClose) -> None:
        """Answer, close the connection and end; rooms and matches see the session end.

        A match keeps the user's place for a while.
        """
        if client.may_ask(request.ref):
            client.ok(request.ref)
            client.close(NORMAL)
            self.stop()

    # --- what its topics answer ------------------------------------------------------------------

    @handles(OwnerAnswered, local=True)
    def answered(self, message: OwnerAnswered) -> None:
        """Note the owner's answer in the membership. The client has its answer already."""
        self.memberships.answered(message)

    @handles(Drained, local=True)
    def drained(self, message: Drained) -> None:
        """Go on to push what the client missed."""
        self.memberships.drained(message)

    @handles(PutOff, local=True)
    def put_off(self, message: PutOff) -> None:
        """Resume a topic again once there is room for what the client missed."""
        self.memberships.put_off(message)

    @handles(PartAgain, local=True)
    def part_again(self, message: PartAgain) -> None:
        """Ask the owner of a topic once more to let the session out."""
        self.memberships.part_again(message.topic)

    @handles(RemovedFromTopic)
    def topic_gone(self, message: RemovedFromTopic) -> None:
        """Note that an owner has ended the membership. Its answers came in order before this."""
        self.memberships.gone(message.topic)


ROUTES: Final[Mapping[type[Request], Route]] = {
    Ping: AskSession(Session.answer_ping),
    SessionOpen: AskSession(Session.refuse_second),
    SessionResume: AskSession(Session.refuse_second),
    SessionRenew: AskSession(Session.renew),
    SessionClose: AskSession(Session.close, outlives=True),
}
"""The routes of requests that the session itself answers."""


def configured(context: Context) -> type[Session]:
    """Return the class of a node's sessions, with the mailbox size of its settings."""

    class ConfiguredSession(Session):
        # With "wait", the gateway stops reading a connection while its session's mailbox is full.
        mailbox = MailboxSpec(capacity=context.settings.mailbox, on_full="wait")

    return ConfiguredSession
