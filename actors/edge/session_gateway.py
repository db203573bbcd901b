"""Where the wire meets the actors: each connection gets a client and a session."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
import pykka

from actors.edge.access import Grant
from actors.edge.admission import Admission
from actors.edge.connected_client import ConnectedClient
from actors.edge.doorman import Doorman, for_new
from actors.edge.identity import Identity
from actors.edge.outcome import RequestOutcome
from actors.edge.rules.bucket import ClientLimits
from actors.edge.session import KIND, Attach, Context, Detach, TakenOver, configured
from actors.edge.tokens import Claims
from actors.edge.traffic import read_next_in
from actors.edge.warden import guard
from actors.runtime.errors import MailboxFull
from actors.runtime.future import Future
from actors.runtime.ref import ActorRef
from actors.runtime.restart import RestartPolicy
from actors.runtime.system import ActorSystem
from protocol.errors import (
    BAD_TOKEN,
    BUSY,
    FLOODING,
    NO_SESSION,
    OVERLOADED,
    RATE_LIMITED,
    SESSION_FAILED,
    TAKEN_OVER,
    TOKEN_EXPIRED,
    CloseCode,
    RequestError,
)
from protocol.messages import EVERY_OP, AnyRequest
from protocol.messages.op import op_of
from protocol.messages.op_table import OpTable
from protocol.messages.session import SessionOpen, SessionResume
from protocol.roles import ANYONE, with_included
from protocol.server.websocket import Connection

_AGAIN_S = 0.01
"""The pause before a session whose mailbox is full is told again that a connection came or went. A
session never waits for others, so its mailbox is full for one turn of the dispatcher."""

_FAIL_ALONE = RestartPolicy(restart="temporary")


class SessionGateway:
    """Gives each connection its handler, and starts a session for each client that opens one.

    Arguments:
        system: the system that the sessions' actors live in.
        context: what all sessions share.
        new_id: makes an id that was never given before, of letters, digits, `-` and `_`. It need
            not be secret, as tokens are signed.
        doorman: knows the budgets of each address.
        ops: the ops that clients may ask for.

    Counters for the metrics: `opened`, `resumed` and `taken_over` sessions, `rate_limited`
    messages, `flooded` connections.
    """

    def __init__(
        self,
        system: ActorSystem,
        context: Context,
        new_id: Callable[[], str],
        doorman: Doorman,
        ops: OpTable = EVERY_OP,
    ) -> None:
        self.opened = 0
        self.resumed = 0
        self.taken_over = 0
        self.rate_limited = 0
        self.flooded = 0
        self.admission = Admission(
            context.settings.in_flight_all,
            of_address=context.settings.address_in_flight,
            sheddable=ops.sheddable_ops,
        )
        self.activations = context.activations
        self.ops = ops
        self.clock = system.clock
        self._system = system
        self._context = context
        self._new_id = new_id
        self._session_class = configured(context)
        self.doorman = doorman
        context.topics.on_end = self._ended
        system.dispatcher.enclose(self.admission)

    def accept(self, connection: Connection) -> ClientHandler:
        """Return the handler of a new connection, for `protocol.server.gateway.Gateway`."""
        settings = self._context.settings
        limits = ClientLimits(
            messages_per_s=settings.messages_per_s,
            messages_burst=settings.messages_burst,
            bytes_per_s=settings.bytes_per_s,
            bytes_burst=settings.bytes_burst,
            flooding_s=settings.flooding_s,
        )
        traffic = self.doorman.traffic(connection.address)
        client = ConnectedClient(
            connection,
            limits,
            settings.in_flight,
            self.admission,
            clock=self.clock,
            traffic=traffic,
        )
        return ClientHandler(self, client)

    def open_session(self, client: ConnectedClient, request: SessionOpen) -> None:
        """Open a session for a guest, or for the user of an access token.

        Raises:
            RequestError: TOO_MANY_SESSIONS, or why the access token is refused.
        """
        most = for_new(self._context.settings.max_sessions)
        if len(self._context.topics.sessions) >= most:
            client.close(OVERLOADED)
            return
        self.doorman.charge_session(client.connection.address)
        if request.token is None:
            self._start(client, request.ref, f"guest-{self._new_id()}", request.name, new_user=True)
        else:
            grant = self._verify(request.token)
            self._start(client, request.ref, grant.user, grant.name or request.name, grant=grant)

    def resume_session(self, client: ConnectedClient, request: SessionResume) -> None:
        """Give the client the session of its token, or a new session of the same user.

        Raises:
            RequestError: BAD_TOKEN, TOO_MANY_SESSIONS, or why its account may not go on.
        """
        topics = self._context.topics
        claims = self._context.tokens.verify(request.token)
        grant = self._go_on(claims, request.access)
        anew = claims.session not in topics.sessions
        self.doorman.charge_resume(client.connection.address, anew=anew)
        if anew:
            self._end_elsewhere(claims.session)
            self._start_anew(client, request, claims, grant)
            return
        older = topics.link(claims.session)
        if isinstance(older, ConnectedClient):
            self.taken_over += 1
            older.session = None  # no request on that connection reaches the session any more
            older.close(TAKEN_OVER)
        topics.attach(Identity(claims.session, claims.user, claims.name), client)
        client.session = self._system.ref(KIND, claims.session)
        self._attach(client, request, claims, grant)

    def told(self, client: ConnectedClient, request: AnyRequest, error: RequestError) -> None:
        """Tell whoever keeps account of it that a connection got no session."""
        peer, code = client.connection.peer, error.error.code
        self._context.watch(RequestOutcome(None, op_of(request), ANYONE, peer, "", code))

    def detach(self, session: ActorRef, connection: int) -> None:
        """Tell a session that its connection has ended."""
        try:
            session.tell(Detach(connection))
        except MailboxFull:
            self._system.after(_AGAIN_S, partial(self.detach, session, connection))
        except pykka.ActorDeadError:
            pass

    def _end_elsewhere(self, session: str) -> None:
        """End a session of another node, if it has not ended: its client is here now.

        Its connection may still be open, or nobody may have noticed that it broke.
        """
        if self._context.topics.home_of(session) is not None:
            with contextlib.suppress(pykka.ActorDeadError):
                self._system.ref(KIND, session).notify(TakenOver())
                self.taken_over += 1

    def _verify(self, token: str) -> Grant:
        access = self._context.access
        if access is None:
            raise RequestError(BAD_TOKEN)
        return access.verify(token)

    def _go_on(self, claims: Claims, token: str | None) -> Grant | None:
        """Return the access with which the user of a session goes on; None: it is a guest.

        Arguments:
            claims: those of the session's token.
            token: a new access token, if the client has shown one.
        """
        context = self._context
        if context.access is None:
            if claims.sign_in or token is not None:
                raise RequestError(BAD_TOKEN)
            return None
        context.access.check(claims.user, claims.sign_in)
        if token is not None:
            grant = context.access.verify(token)
            if grant.user != claims.user:
                raise RequestError(BAD_TOKEN, "the access token is of another user")
            return grant
        if not claims.sign_in:
            return None
        if context.clock_ms() / 1000 >= claims.expires + context.settings.token_grace_s:
            raise RequestError(TOKEN_EXPIRED)
        return Grant(claims.user, claims.name, claims.roles, claims.sign_in, claims.expires)

    def _attach(
        self, client: ConnectedClient, request: SessionResume, claims: Claims, grant: Grant | None
    ) -> None:
        session = client.session
        if session is None or client.connection.closed:
            return  # another connection has taken the session over, or this one is closed
        attached = session.ask(
            Attach(client.id, request.ref, resumed=True, positions=request.positions, grant=grant)
        )
        attached.on_done(partial(self._attached, client, request, claims, grant))

    def _attached(
        self,
        client: ConnectedClient,
        request: SessionResume,
        claims: Claims,
        grant: Grant | None,
        attached: Future[Any],
    ) -> None:
        error = attached.exception()
        if error is None:
            self.resumed += 1
            client.connection.expect_within(None)
        elif isinstance(error, MailboxFull):
            self._system.after(_AGAIN_S, partial(self._attach, client, request, claims, grant))
        elif not client.connection.closed:  # the session has just ended
            self._start_anew(client, request, claims, grant)

    def _start_anew(
        self, client: ConnectedClient, request: SessionResume, claims: Claims, grant: Grant | None
    ) -> None:
        # The new session has an id of its own. The end of the old session may still be on its way
        # to its rooms, and must not remove the new one from them.
        self._start(client, request.ref, claims.user, claims.name, resume=request, grant=grant)

    def _start(
        self,
        client: ConnectedClient,
        ref: int | None,
        user: str,
        name: str,
        *,
        resume: SessionResume | None = None,
        grant: Grant | None = None,
        new_user: bool = False,
    ) -> None:
        context = self._context
        if len(context.topics.sessions) >= context.settings.max_sessions:
            client.close(OVERLOADED)
            return
        key = context.topics.new_session(self._new_id())
        address = client.connection.address
        share = self.doorman.began(address)
        who = Identity(key, user, name, address=address)
        if grant is not None:
            roles = with_included(grant.roles)
            who = msgspec.structs.replace(who, roles=roles, sign_in=grant.sign_in)
        if context.access is not None:
            context.access.entered(who)
        context.topics.attach(who, client, new_user=new_user)
        if share is not None:
            context.topics.share(key, share.deliveries)
        client.session = self._system.start(
            self._session_class,
            who,
            client.limits,
            context,
            share,
            kind=KIND,
            key=key,
            policy=_FAIL_ALONE,
        )
        self.opened += 1
        client.connection.expect_within(None)
        positions = resume.positions if resume is not None else {}
        client.session.tell(Attach(client.id, ref, resumed=False, positions=positions, grant=grant))
        guard(self._system, client.session)

    def _ended(self, who: Identity) -> None:
        self.doorman.ended(who.address)
        if self._context.access is not None:
            self._context.access.left(who)


class ClientHandler:
    """Handles what one connection receives; a `protocol.server.websocket.Handler`.

    Rate limits and load shedding come before the session's mailbox, so a flood ends here.
    """

    __slots__ = ("_gateway", "client")

    def __init__(self, gateway: SessionGateway, client: ConnectedClient) -> None:
        self._gateway = gateway
        self.client = client

    def received(self, request: AnyRequest) -> Awaitable[None] | None:
        """Give a request to the session. Without a session only `open` and `resume` are possible.

        Returns None, or an awaitable that ends when a full session has room for the request.
        """
        client = self.client
        size = client.connection.message_bytes
        now = client.clock()
        ops = self._gateway.ops
        cost = ops.costs[type(request)] or ops.cost_of(request)
        if not client.limits.admit(now, size, cost):
            self._over(now, size, cost, request.ref)
            return None
        session = client.session
        if session is None:
            self._first(request)
            return None
        traffic = client.traffic
        if traffic is not None and not traffic.admit(now, cost):
            self._over_for_address(traffic.over(now, cost), request)
            return None
        if type(request) in ops.sheddable and not client.takes_up(request.ref):
            return None
        try:
            session.tell(request)
        except MailboxFull:
            return self._wait_for_room(session, request)
        except pykka.ActorDeadError:
            client.close(SESSION_FAILED)
        return None

    def undecodable(self, error: RequestError, ref: int | None) -> None:
        """Answer a message that is no valid request. It counts towards the limits like one."""
        client = self.client
        size = client.connection.message_bytes
        now = client.clock()
        if client.limits.admit(now, size):
            client.connection.refuse(error, ref)
        else:
            self._over(now, size, 1, ref)

    def shed(self, error: RequestError, count: int, size_bytes: int) -> None:
        """Count `count` requests that the wire has refused, `size_bytes` long together."""
        client = self.client
        if error.error is BUSY:
            client.admission.shed += count
        elif error.error is RATE_LIMITED:
            self._gateway.rate_limited += count
        self._count(size_bytes, count)

    def fragments(self, count: int) -> None:
        """Count fragments as messages. The bytes are counted when the message is whole."""
        self._count(0, count)

    def disconnected(self, close: CloseCode | int, reason: str) -> None:  # noqa: ARG002 - the wire's
        """Have the session wait for another connection, unless it has one already."""
        client = self.client
        if client.session is not None:
            self._gateway.detach(client.session, client.id)

    def _first(self, request: AnyRequest) -> None:
        client = self.client
        try:
            if isinstance(request, SessionOpen):
                self._gateway.open_session(client, request)
            elif isinstance(request, SessionResume):
                self._gateway.resume_session(client, request)
            else:
                raise RequestError(NO_SESSION)
        except RequestError as error:
            self._gateway.told(client, request, error)
            client.refuse(error, request.ref)

    def _over(self, now: float, size: int, cost: int, ref: int | None) -> None:
        client = self.client
        if client.limits.flooding(now, size, cost):
            self._gateway.flooded += 1
            client.close(FLOODING)
        else:
            self._gateway.rate_limited += 1
            if ref is not None:
                retry_in_s = client.limits.ready_in(now, size, cost)
                client.refuse(RequestError(RATE_LIMITED, retry_in_s=retry_in_s), ref)

    def _over_for_address(self, error: RequestError, request: AnyRequest) -> None:
        gateway, client = self._gateway, self.client
        gateway.rate_limited += 1
        if type(request) in gateway.ops.sheddable:
            client.connection.shed(error, request.ref, gateway.ops.sheddable_ops, read_next_in)
        else:
            client.refuse(error, request.ref)

    def _count(self, size: int, count: int) -> None:
        """Count messages that are not answered one by one."""
        limits, now = self.client.limits, self.client.clock()
        if not limits.admit(now, size, count) and limits.flooding(now, size, count):
            self._gateway.flooded += 1
            self.client.close(FLOODING)

    async def _wait_for_room(self, session: ActorRef, request: AnyRequest) -> None:
        try:
            await session.send(request)
        except pykka.ActorDeadError:
            self.client.close(SESSION_FAILED)
