"""The topics that one session is in, and the way of its requests to the actors that own them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
import pykka

from actors.client import Client
from actors.failures import request_error
from actors.messages import Join, Leave, Resume
from actors.runtime.errors import AskTimeout, MailboxFull
from actors.runtime.future import Future
from actors.runtime.ref import ActorRef
from actors.runtime.system import ActorSystem
from actors.settings import SessionSettings
from protocol.errors import NOT_JOINED, TOO_MANY_TOPICS, RequestError
from protocol.messages import Position, TopicLost


class Place:
    """A topic that the session has asked to be in; one object for each time it asked."""

    __slots__ = ("owner",)

    def __init__(self, owner: ActorRef) -> None:
        self.owner = owner


class Places:
    """What a session has joined, or is about to. The owner of a topic knows who its members are;
    this is what bounds a session, and keeps a stranger's request from bringing a room to life.

    Answers come back past the session's mailbox, on the same thread, between its messages.
    """

    __slots__ = ("_client", "_name", "_places", "_session", "_settings", "_system", "_user")

    def __init__(
        self, system: ActorSystem, settings: SessionSettings, session: str, user: str, name: str
    ) -> None:
        self._system = system
        self._settings = settings
        self._session = session
        self._user = user
        self._name = name
        self._client: Client | None = None
        self._places: dict[str, Place] = {}

    def attach(self, client: Client, positions: Mapping[str, Position]) -> None:
        """Go on with a connection whose client stands at these positions.

        Topics that it does not name it knows nothing of (a join whose answer got lost): they are
        left. Each other one answers for itself, by its owner or by `topic.lost`.
        """
        self._client = client
        for topic in [topic for topic in self._places if topic not in positions]:
            tell(self._places.pop(topic).owner, Leave(self._session))
        for topic, position in positions.items():
            self._resume(client, topic, position)

    def detach(self) -> None:
        """There is no connection now."""
        self._client = None

    def join(self, client: Client, ref: int | None, topic: str) -> None:
        """Ask to become a member."""
        if not client.may_ask(ref):
            return
        place = self._take(topic)
        if place is None:
            client.refuse(RequestError(TOO_MANY_TOPICS), ref)
            return
        message = Join(self._session, client.id, self._user, self._name)
        joined = place.owner.ask(message, timeout=self._settings.ask_timeout_s)
        joined.on_done(partial(self._joined, topic, place))
        client.begin(ref, joined)

    def leave(self, client: Client, ref: int | None, topic: str) -> None:
        """Ask to be no member any more."""
        if not client.may_ask(ref):
            return
        place = self._places.pop(topic, None)
        if place is None:
            client.ok(ref)
        else:
            self.ask(client, ref, place.owner, Leave(self._session))

    def pass_on(self, client: Client, ref: int | None, topic: str, message: msgspec.Struct) -> None:
        """Ask the owner of a topic that the session is in."""
        if not client.may_ask(ref) or not client.has_room(ref):
            return
        place = self._places.get(topic)
        if place is None:
            client.refuse(RequestError(NOT_JOINED), ref)
        else:
            self.ask(client, ref, place.owner, message)

    def repeat(self, client: Client, ref: int | None, topic: str, message: msgspec.Struct) -> None:
        """Ask the owner of a topic, whether the session is in it or not, for an answer once given.

        For a match that has ended: all were let go by that, and an input that ended it may still
        wait for its answer, or have lost it. A stranger can bring a match to life with it, as with
        a join that fails.
        """
        if client.may_ask(ref):
            kind, _, key = topic.partition(":")
            self.ask(client, ref, self._system.ref(kind, key), message)

    def __contains__(self, topic: str) -> bool:
        return topic in self._places

    def ask(
        self, client: Client, ref: int | None, target: ActorRef, message: msgspec.Struct
    ) -> None:
        """Ask an actor on behalf of the client, who may ask."""
        client.begin(ref, target.ask(message, timeout=self._settings.ask_timeout_s))

    def gone(self, topic: str, code: str | None) -> None:
        """A topic is no more; the client is told if it was in it and its owner has not (None)."""
        place = self._places.pop(topic, None)
        if place is not None and code is not None and self._client is not None:
            self._client.push(TopicLost(topic=topic, code=code))

    def _take(self, topic: str) -> Place | None:
        """The place in a topic, the present one or a new one; None: there are too many."""
        place = self._places.get(topic)
        if place is None and len(self._places) < self._settings.topics:
            kind, _, key = topic.partition(":")
            place = self._places[topic] = Place(self._system.ref(kind, key))
        return place

    def _give_up(self, topic: str, place: Place) -> bool:
        """Forget this place, unless it was left and taken anew; returns whether it was there."""
        if self._places.get(topic) is not place:
            return False
        del self._places[topic]
        return True

    def _joined(self, topic: str, place: Place, joined: Future[Any]) -> None:
        # After its deadline a join may have acted all the same: then the owner knows better than
        # we do whether we are a member, and what we ask it is answered accordingly.
        error = joined.exception()
        if error is not None and not isinstance(error, AskTimeout):
            self._give_up(topic, place)

    def _resume(self, client: Client, topic: str, position: Position) -> None:
        place = self._take(topic)
        if place is None:
            client.push(TopicLost(topic=topic, code=TOO_MANY_TOPICS.code))
            return
        message = Resume(
            self._session, client.id, self._user, self._name, position.epoch, position.offset
        )
        resumed = place.owner.ask(message, timeout=self._settings.resume_timeout_s)
        resumed.on_done(partial(self._resumed, client, topic, place))

    def _resumed(self, client: Client, topic: str, place: Place, resumed: Future[Any]) -> None:
        """The owner has told the client itself, or it has refused and we tell it."""
        error = resumed.exception()
        if error is None or client is not self._client or not self._give_up(topic, place):
            return
        if isinstance(error, AskTimeout):
            tell(place.owner, Leave(self._session))  # it may have acted, or still will
        client.push(TopicLost(topic=topic, code=request_error(error).error.code))


def tell(target: ActorRef, message: msgspec.Struct) -> None:
    """Tell what nobody asked to have answered: if it cannot be taken, that is all."""
    with contextlib.suppress(MailboxFull, pykka.ActorDeadError):
        target.tell(message)
