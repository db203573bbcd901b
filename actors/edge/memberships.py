"""The topics that one session is in, and the way of its requests to the actors that own them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import msgspec

from actors.edge.activations import Activations
from actors.edge.connected_client import Client
from actors.edge.doorman import Share
from actors.edge.failures import Refused, request_error
from actors.edge.rules.membership import Answer, Membership
from actors.edge.settings import SessionSettings
from actors.edge.topic_messages import Join, Leave, Part, Resume, TopicMessage
from actors.runtime.actor import Actor
from actors.runtime.errors import ActorFailed, Fenced, MailboxFull, Quarantined, StoreBusy
from actors.runtime.future import Future
from actors.runtime.ref import ActorRef
from actors.runtime.restart import Backoff
from protocol.errors import NOT_JOINED, TOO_MANY_TOPICS, UNAVAILABLE, RequestError
from protocol.messages.envelope import Position
from protocol.messages.session import TopicLost

AGAIN: Final = Backoff(first_s=0.1, factor=2.0, max_s=5.0)
"""After this an owner that was too busy to let the session go is asked again."""


class Answered(msgspec.Struct, frozen=True):
    """A session to itself: what became of its request number `number` to the topic's owner.

    `client`: who is told if it was a resume that failed.
    """

    topic: str
    number: int
    asked: type[TopicMessage]
    client: Client | None
    done: Future[Any]


class PartAgain(msgspec.Struct, frozen=True, gc=False):
    """Timer: the owner of the topic is still to be told that the session is out."""

    topic: str


class Place:
    """A topic that the session may be in: who owns it, and how the membership stands."""

    __slots__ = ("believed", "membership", "owner")

    def __init__(self, owner: ActorRef) -> None:
        self.owner = owner
        self.membership = Membership()
        self.believed = False
        """The client was told that it is a member. If it is not, it has to be told."""

    @property
    def leaving(self) -> bool:
        """Whether the session is to be out, though the owner may not have heard of that yet."""
        return self.membership.gave_up


class Places:
    """What a session is in, is about to be in, or has left without its owner knowing it yet.

    The owner of a topic is the one truth of who is a member. What is here follows from its answers,
    and never falls short of it: a place is dropped once the owner has said that the session is out,
    or is gone. So it bounds a session, and keeps a stranger's request from bringing a room to life.

    A session that ends owes nothing: owners watch it.

    Arguments:
        actor: the session's; answers come as messages to it.
    """

    __slots__ = (
        "_activations", "_actor", "_budget", "_client", "_name", "_places", "_session",
        "_settings", "_shared", "_user",
    )  # fmt: skip

    def __init__(
        self,
        actor: Actor,
        settings: SessionSettings,
        session: str,
        user: str,
        name: str,
        *,
        activations: Activations,
        share: Share | None,
    ) -> None:
        self._actor = actor
        self._activations = activations
        self._budget = activations.of_session()
        self._shared = None if share is None else share.activations
        self._settings = settings
        self._session = session
        self._user = user
        self._name = name
        self._client: Client | None = None
        self._places: dict[str, Place] = {}

    def __contains__(self, topic: str) -> bool:
        place = self._places.get(topic)
        return place is not None and not place.leaving

    def stages(self) -> dict[str, str]:
        """How each membership stands, in a word."""
        return {topic: place.membership.stage for topic, place in self._places.items()}

    # --- the client's connection -----------------------------------------------------------------

    def attach(self, client: Client, positions: Mapping[str, Position]) -> None:
        """Go on with a connection whose client stands at these positions.

        Topics that it does not name it knows nothing of (a join whose answer got lost): they are
        left. Each other one answers for itself, by its owner or by `topic.lost`.
        """
        self._client = client
        for topic, place in list(self._places.items()):
            place.believed = topic in positions
            if not place.believed:
                self._stands(topic, place, place.membership.gives_up(keep_place=True))
        for topic, position in positions.items():
            self._resume(client, topic, position)

    def detach(self) -> None:
        """There is no connection now."""
        self._client = None

    # --- what the client asks --------------------------------------------------------------------

    def join(self, client: Client, ref: int | None, topic: str) -> None:
        """Ask to become a member."""
        if not client.may_ask(ref):
            return
        place = self._take(topic)
        if isinstance(place, RequestError):
            client.refuse(place, ref)
            return
        timeout_s = self._settings.ask_timeout_s
        until = self._actor.system.now() + timeout_s
        message = Join(self._session, client.id, self._user, self._name, until)
        joined = self._ask_in(topic, place, message, timeout_s)
        client.begin(ref, joined)

    def leave(self, client: Client, ref: int | None, topic: str) -> None:
        """Ask to be no member any more. What becomes of a leave without a ref nobody is told, so it
        is owed, and takes none of what the client may have under way.
        """
        if ref is not None and not client.may_ask(ref):
            return
        place = self._places.get(topic)
        if place is None:
            client.ok(ref)
            return
        if ref is None:
            if place.leaving:
                return
            place.membership = place.membership.gives_up(keep_place=False)
            place.believed = False
        message = Leave(self._session, self._user)
        client.begin(ref, self._ask_out(topic, place, message, self._settings.ask_timeout_s))

    def pass_on(self, client: Client, ref: int | None, topic: str, message: msgspec.Struct) -> None:
        """Ask the owner of a topic that the session is in."""
        if not client.may_ask(ref) or not client.has_room(ref):
            return
        place = self._places.get(topic)
        if place is None or place.leaving:
            client.refuse(RequestError(NOT_JOINED), ref)
        else:
            self.ask(client, ref, place.owner, message)

    def repeat(self, client: Client, ref: int | None, topic: str, message: msgspec.Struct) -> None:
        """Ask the owner of a topic, joined or not, to repeat an answer that it has given.

        It is for a match that has ended. The end let everyone go, but the answer to the input that
        ended it may be still to come, or lost. A stranger can bring a match to life in this way, as
        with a join that fails, so it is charged.
        """
        if not client.may_ask(ref):
            return
        refused = self._charge(topic)
        if refused is not None:
            client.refuse(refused, ref)
        else:
            self.ask(client, ref, self._owner(topic), message)

    def create(
        self, client: Client, ref: int | None, directory: ActorRef, message: msgspec.Struct
    ) -> None:
        """Ask for a match to be made, which costs what it costs to bring one to life."""
        if not client.may_ask(ref):
            return
        now = self._actor.system.now()
        refused = self._activations.charge(now, self._budget, self._shared)
        if refused is not None:
            client.refuse(refused, ref)
        else:
            timeout_s = self._settings.ask_timeout_s
            client.begin(ref, _ask_again_if_fenced(directory, message, timeout_s))

    def ask(
        self, client: Client, ref: int | None, target: ActorRef, message: msgspec.Struct
    ) -> None:
        """Ask an actor on behalf of the client. The caller has checked that it may ask."""
        client.begin(ref, target.ask(message, timeout=self._settings.ask_timeout_s))

    # --- what the owners answer ------------------------------------------------------------------

    def answered(self, message: Answered) -> None:
        """Take what became of a request to be in a topic, or out of it."""
        # It is there: a place with a request under way is not dropped.
        topic, place = message.topic, self._places[message.topic]
        membership, number = place.membership, message.number
        if message.asked in (Leave, Part):
            answer = _out(message.done)
            if answer is Answer.DONE and message.asked is Leave:
                place.believed = False
            self._stands(topic, place, membership.answered_out(number, answer))
            return
        answer, error, client = _in(message.done), message.done.exception(), message.client
        membership = membership.answered_in(number, answer)
        if answer is Answer.DONE:
            place.believed = True
        elif error is None:
            place.believed = False  # it was told of the end
        elif (
            client is not None
            and client is self._client
            and number == membership.entered  # else a join has been asked since, and tells
        ):
            client.push(TopicLost(topic=topic, code=request_error(error).error.code))
            place.believed = False
            membership = membership.gives_up(keep_place=True)
        self._stands(topic, place, membership)

    def part_again(self, topic: str) -> None:
        """Ask for what is still owed."""
        place = self._places.get(topic)
        if place is not None and place.membership.due:
            self._part(topic, place)

    def gone(self, topic: str) -> None:
        """The owner has ended the membership; the client has been told."""
        place = self._places.get(topic)
        if place is not None:
            place.believed = False
            self._stands(topic, place, place.membership.gone())

    # --- within ----------------------------------------------------------------------------------

    def _owner(self, topic: str) -> ActorRef:
        kind, _, key = topic.partition(":")
        return self._actor.system.ref(kind, key)

    def _charge(self, topic: str) -> RequestError | None:
        """Charge the session if this brings the owner of a topic that it is not in to life; with
        what to refuse it, if so.
        """
        if topic in self._places:
            return None
        return self._activations.refuse(
            self._actor.system, self._budget, self._shared, self._owner(topic)
        )

    def _take(self, topic: str) -> Place | RequestError:
        """The place in a topic, the present one or a new one that was paid for; or why not."""
        place = self._places.get(topic)
        if place is not None:
            return place
        refused = self._charge(topic)
        if refused is not None:
            return refused
        if not self._has_room():
            return RequestError(TOO_MANY_TOPICS)
        place = self._places[topic] = Place(self._owner(topic))
        return place

    def _has_room(self) -> bool:
        """Whether one more place is allowed. Topics that are being left do not count, as long as
        they are fewer than the limit themselves.
        """
        count, limit = len(self._places), self._settings.topics
        if count < limit:
            return True
        left = sum(place.leaving for place in self._places.values())
        return count - left < limit and left < limit

    def _resume(self, client: Client, topic: str, position: Position) -> None:
        place = self._take(topic)
        if isinstance(place, RequestError):
            client.push(TopicLost(topic=topic, code=place.error.code))
            return
        place.believed = True
        timeout_s = self._settings.resume_timeout_s
        message = Resume(
            self._session,
            client.id,
            self._user,
            self._name,
            position.epoch,
            position.offset,
            until=self._actor.system.now() + timeout_s,
        )
        self._ask_in(topic, place, message, timeout_s, client)

    def _ask_in(
        self,
        topic: str,
        place: Place,
        message: Join | Resume,
        timeout_s: float,
        client: Client | None = None,
    ) -> Future[Any]:
        place.membership = place.membership.asks_in()
        return self._ask(topic, place, message, timeout_s, client)

    def _ask_out(
        self, topic: str, place: Place, message: Leave | Part, timeout_s: float
    ) -> Future[Any]:
        place.membership = place.membership.asks_out()
        return self._ask(topic, place, message, timeout_s)

    def _ask(
        self,
        topic: str,
        place: Place,
        message: TopicMessage,
        timeout_s: float,
        client: Client | None = None,
    ) -> Future[Any]:
        done = place.owner.ask(message, timeout=timeout_s)
        number = place.membership.last
        self._actor.pipe_to_self(done, partial(Answered, topic, number, type(message), client))
        return done

    def _stands(self, topic: str, place: Place, membership: Membership) -> None:
        """Note how a membership stands now, and see to what is owed."""
        place.membership = membership
        if membership.over:
            del self._places[topic]
            if place.believed and self._client is not None:
                self._client.push(TopicLost(topic=topic, code=NOT_JOINED.code))
        elif membership.due and membership.tries:
            delay_s = AGAIN.delay_s(membership.tries + 1, self._actor.system.random)
            self._actor.start_timer(delay_s, PartAgain(topic), name=f"part:{topic}")
        elif membership.due:
            self._part(topic, place)

    def _part(self, topic: str, place: Place) -> None:
        # Without a deadline: then one such message waits for its owner, however long that is
        # occupied, and whoever waits is told in the end.
        message = Part(self._session, self._user, place.membership.keeps_place)
        self._ask_out(topic, place, message, math.inf)


def _ask_again_if_fenced(
    target: ActorRef, message: msgspec.Struct, timeout_s: float
) -> Future[Any]:
    """Ask, and once more if the actor finds out by this that its log is another incarnation's.

    Nothing was written then, and the actor comes back from the log as it is now. After one server
    has replaced another this is what the first request meets, and its client is to know of none.
    """
    answer: Future[Any] = Future()

    def asked(done: Future[Any]) -> None:
        fenced = isinstance(done.exception(), Fenced)
        answer.follow(target.ask(message, timeout=timeout_s) if fenced else done)

    target.ask(message, timeout=timeout_s).on_done(asked)
    return answer


def _in(done: Future[Any]) -> Answer:
    """What the answer to a join or a resume says of the membership."""
    error = done.exception()
    if error is None:
        return Answer.DENIED if done.result() is False else Answer.DONE
    if isinstance(error, MailboxFull | StoreBusy | Quarantined | ActorFailed):
        return Answer.UNDONE
    if isinstance(error, Refused):
        return Answer.UNDONE if error.error is UNAVAILABLE else Answer.DENIED
    return Answer.UNKNOWN


def _out(done: Future[Any]) -> Answer:
    """What the answer to a leave says of the membership."""
    error = done.exception()
    if error is None or isinstance(error, ActorFailed):  # who has failed for good has no members
        return Answer.DONE
    if isinstance(error, MailboxFull | StoreBusy | Quarantined):
        return Answer.UNDONE
    return Answer.UNKNOWN
