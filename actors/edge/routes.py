"""Routes: where a request of an op goes. A service chooses one of these few kinds for each op.

A route is a value. The session has one handler, which serves every request by the route of its op.
The session never waits: the answer goes from the asked actor straight into the connection's outbox.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import msgspec

from actors.edge.connected_client import ConnectedClient
from actors.edge.failures import Refused, code_of
from actors.edge.identity import Identity
from actors.edge.memberships import Memberships
from actors.edge.outcome import OnOutcome, RequestOutcome, nobody_told, subject_of
from actors.edge.topic_messages import TopicMessage
from actors.runtime.future import Future
from protocol.errors import FORBIDDEN, RequestError
from protocol.roles import allows, role_needed

TopicOf = Callable[[Identity, Any], str]
"""Returns the topic that a request names, or the topic that belongs to the user who asks."""


class Asker(Protocol):
    """The part of a session that a route uses."""

    @property
    def who(self) -> Identity: ...
    @property
    def memberships(self) -> Memberships: ...


class WithoutSession(Protocol):
    """Somebody who asks without a session, over HTTP."""

    @property
    def who(self) -> Identity: ...

    def ask_actor(self, actor: tuple[str, str], message: msgspec.Struct) -> Future[Any]:
        """Ask an actor, with the deadline of a client's request."""

    def activate(self) -> None:
        """Charge for an actor that is brought to life. Raises RequestError: a budget is used up."""


@runtime_checkable
class CallRoute(Protocol):
    """A route whose requests can be answered without a session."""

    def call(self, caller: WithoutSession, request: Any) -> Future[Any]:
        """Return the future of the answer. Raises RequestError: the request is refused."""


class Route(Protocol):
    """Serves the requests of one op."""

    @property
    def outlives(self) -> bool:
        """Whether a request is served even if its connection has closed in the meantime.

        True for a request that others see the effect of: a send, an input, a leave. A client may
        send it and go. False for a question, whose answer nobody would read: a client that floods
        and goes leaves no work behind.
        """

    def serve(self, asker: Asker, client: ConnectedClient, request: Any) -> None:
        """Answer the request, or have an actor answer it."""


@dataclass(frozen=True, slots=True)
class JoinTopic:
    """A join: the owner of the topic is asked to make the session a member."""

    topic: TopicOf
    outlives: bool = False

    def serve(self, asker: Asker, client: ConnectedClient, request: Any) -> None:
        asker.memberships.join(client, request.ref, self.topic(asker.who, request))


@dataclass(frozen=True, slots=True)
class LeaveTopic:
    """A leave: the owner of the topic is asked to end the membership."""

    topic: TopicOf
    outlives: bool = True

    def serve(self, asker: Asker, client: ConnectedClient, request: Any) -> None:
        asker.memberships.leave(client, request.ref, self.topic(asker.who, request))


@dataclass(frozen=True, slots=True)
class AskOwner:
    """The owner of a topic that the session is in is asked.

    Attributes:
        message: makes the message for the owner.
        again: makes the message if the session is not in the topic. It was in the topic once, and
            may want an answer repeated. None: such a request is refused.
    """

    topic: TopicOf
    message: Callable[[Identity, Any], TopicMessage]
    again: Callable[[Identity, Any], TopicMessage] | None = None
    outlives: bool = False

    def serve(self, asker: Asker, client: ConnectedClient, request: Any) -> None:
        memberships, topic = asker.memberships, self.topic(asker.who, request)
        if self.again is None or topic in memberships:
            message = self.message(asker.who, request)
            memberships.pass_on(client, request.ref, topic, message)
        elif request.ref is not None and not client.connection.closed:
            memberships.repeat(client, request.ref, topic, self.again(asker.who, request))


@dataclass(frozen=True, slots=True)
class AskActor:
    """An actor is asked, by its (kind, key).

    Attributes:
        message: makes the message for the actor.
    """

    actor: tuple[str, str]
    message: Callable[[Identity, Any], msgspec.Struct]
    outlives: bool = False

    def serve(self, asker: Asker, client: ConnectedClient, request: Any) -> None:
        message = self.message(asker.who, request)
        asker.memberships.ask_actor(client, request.ref, self.actor, message)

    def call(self, caller: WithoutSession, request: Any) -> Future[Any]:
        return caller.ask_actor(self.actor, self.message(caller.who, request))


@dataclass(frozen=True, slots=True)
class AskService:
    """A service is asked: it runs a command in a transaction, or a query.

    Attributes:
        answer: starts the command or query and returns the future of its answer. A `Refused` that
            it raises is the answer as well.
        activates: the request brings an actor to life, a match for example. It is charged like a
            join that loads a room from the stores.
    """

    answer: Callable[[Identity, Any], Future[Any]]
    activates: bool = False
    outlives: bool = False

    def serve(self, asker: Asker, client: ConnectedClient, request: Any) -> None:
        if (
            client.may_ask(request.ref)
            and client.has_room(request.ref)
            and (not self.activates or asker.memberships.may_activate(client, request.ref))
        ):
            try:
                answer = self.answer(asker.who, request)
            except Refused as refused:
                client.refuse(refused, request.ref)
            else:
                client.begin(request.ref, answer)

    def call(self, caller: WithoutSession, request: Any) -> Future[Any]:
        if self.activates:
            caller.activate()
        return self.answer(caller.who, request)


@dataclass(frozen=True, slots=True)
class OnlyFor:
    """A route for those who have a role; everyone else is refused. Without a role, everyone is.

    Attributes:
        role, op: the role, and the op that needs it.
        watch: told what became of each request.
    """

    role: str | None
    route: Route
    op: str = ""
    watch: OnOutcome = nobody_told

    @property
    def outlives(self) -> bool:
        return self.route.outlives

    def serve(self, asker: Asker, client: ConnectedClient, request: Any) -> None:
        who = asker.who
        told = partial(_told, self, who, client.connection.peer, subject_of(request))
        if not allows(self.role, who.roles):
            told(FORBIDDEN.code)
            client.refuse(RequestError(FORBIDDEN, role_needed(self.role)), request.ref)
        else:
            _followed(self.route, told).serve(asker, client, request)


def _told(route: OnlyFor, who: Identity, peer: str, on_whom: str, code: str) -> None:
    route.watch(RequestOutcome(who, route.op, route.role, peer, on_whom, code))


def _followed(route: Route, told: Callable[[str], None]) -> Route:
    """Return the route for one request, with `told` called with the code of its outcome.

    A service answers every op of staff. What an actor answers is told as soon as it is asked.
    """
    if not isinstance(route, AskService):
        told("")
        return route

    def answer(who: Identity, request: Any) -> Future[Any]:
        try:
            found = route.answer(who, request)
        except Refused as refused:
            told(refused.error.code)
            raise
        found.when_done(lambda done: told(code_of(done.exception())))
        return found

    return replace(route, answer=answer)


@dataclass(frozen=True, slots=True)
class AskSession:
    """The session itself answers, by its method `serve`."""

    serve: Callable[[Any, ConnectedClient, Any], None]
    outlives: bool = False
