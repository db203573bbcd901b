"""Where a request goes: the few kinds of routes that a service chooses from for its ops.

A route is a value. The session serves every request by its op's route, with one handler; it never
waits, and the answer goes from whoever was asked straight into the connection's outbox.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from actors.edge.connected_client import ConnectedClient
from actors.edge.failures import Refused
from actors.edge.identity import Identity
from actors.edge.memberships import Memberships
from actors.edge.topic_messages import TopicMessage
from actors.runtime.future import Future

Topic = Callable[[Identity, Any], str]
"""The topic that a request names, or that belongs to whoever asks."""


class Asker(Protocol):
    """What a route has of the session that asks."""

    @property
    def who(self) -> Identity: ...
    @property
    def memberships(self) -> Memberships: ...


class Route(Protocol):
    """Serves the requests of one op."""

    @property
    def outlives(self) -> bool:
        """Whether a request acts though the connection that it came on is closed.

        What others see of it does (a send, an input, a leave): whoever says it and goes has said
        it. What only tells its client something does not: a flood is over when its client goes, and
        not when all that it had sent is worked off for nobody.
        """

    def serve(self, asker: Asker, client: ConnectedClient, request: Any) -> None:
        """Answer, or have it answered."""


@dataclass(frozen=True, slots=True)
class JoinTopic:
    """To the owner of a topic: become a member of it."""

    topic: Topic
    outlives: bool = False

    def serve(self, asker: Asker, client: ConnectedClient, request: Any) -> None:
        asker.memberships.join(client, request.ref, self.topic(asker.who, request))


@dataclass(frozen=True, slots=True)
class LeaveTopic:
    """To the owner of a topic: be no member of it any more."""

    topic: Topic
    outlives: bool = True

    def serve(self, asker: Asker, client: ConnectedClient, request: Any) -> None:
        asker.memberships.leave(client, request.ref, self.topic(asker.who, request))


@dataclass(frozen=True, slots=True)
class AskOwner:
    """To the owner of a topic that the session is in.

    `message`: what it is asked. `again`: what it is asked by a session that is not in the topic,
    for the case that it was once and only wants an answer repeated; without it that is refused.
    """

    topic: Topic
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
    """To an actor by its (kind, key).

    `activates`: it brings something to life, a match say, which is charged like a join that does.
    Such an actor is asked once more if it finds out by the request that another incarnation has its
    log.
    """

    actor: tuple[str, str]
    message: Callable[[Identity, Any], msgspec.Struct]
    activates: bool = False
    outlives: bool = False

    def serve(self, asker: Asker, client: ConnectedClient, request: Any) -> None:
        message = self.message(asker.who, request)
        if self.activates:
            asker.memberships.create(client, request.ref, self.actor, message)
        else:
            asker.memberships.ask_actor(client, request.ref, self.actor, message)


@dataclass(frozen=True, slots=True)
class AskService:
    """To a service: a command that it runs in a transaction, or a question that it reads.

    `answer` begins it and returns the future of its answer. A Refused that it raises is the answer,
    too.
    """

    answer: Callable[[Identity, Any], Future[Any]]
    outlives: bool = False

    def serve(self, asker: Asker, client: ConnectedClient, request: Any) -> None:
        if client.may_ask(request.ref) and client.has_room(request.ref):
            try:
                answer = self.answer(asker.who, request)
            except Refused as refused:
                client.refuse(refused, request.ref)
            else:
                client.begin(request.ref, answer)


@dataclass(frozen=True, slots=True)
class AskSession:
    """To the session itself."""

    act: Callable[[Any, ConnectedClient, Any], None]
    outlives: bool = False

    def serve(self, asker: Asker, client: ConnectedClient, request: Any) -> None:
        self.act(asker, client, request)
