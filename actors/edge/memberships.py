"""The topics that one session is in, and the way of its requests to the actors that own them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import msgspec

from actors.edge.activations import Activations
from actors.edge.connected_client import ConnectedClient
from actors.edge.doorman import Share
from actors.edge.failures import Refused, request_error
from actors.edge.identity import Identity
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
    client: ConnectedClient | None
    done: Future[Any]


class PartAgain(msgspec.Struct, frozen=True, gc=False):
    """Timer: the owner of the topic is still to be told that the session is out."""

    topic: str


class TopicMembership:
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


class Memberships:
    """What a session is in, is about to be in, or has left without its owner knowing it yet.

    The owner of a topic is the one truth of who is a member. What is here follows from its answers,
    and never falls short of it: a topic is dropped once the owner has said that the session is out,
    or is gone. So it bounds a session, and keeps a stranger's request from bringing a room to life.

    A session that ends owes nothing: owners watch it.

    Arguments:
        actor: the session's; answers come as messages to it.
    """

    __slots__ = (
        "_activations", "_actor", "_budget", "_client", "_held", "_settings", "_shared", "_who",
    )  # fmt: skip

    def __init__(
        self,
        actor: Actor,
        settings: SessionSettings,
        who: Identity,
        *,
        activations: Activations,
        share: Share | None,
    ) -> None:
        self._actor = actor
        self._activations = activations
        self._budget = activations.of_session()
        self._shared = None if share is None else share.activations
        self._settings = settings
        self._who = who
        self._client: ConnectedClient | None = None
        self._held: dict[str, TopicMembership] = {}

    def __contains__(self, topic: str) -> bool:
        held = self._held.get(topic)
        return held is not None and not held.leaving

    def stages(self) -> dict[str, str]:
        """How each membership stands, in a word."""
        return {topic: held.membership.stage for topic, held in self._held.items()}

    # --- the client's connection -----------------------------------------------------------------

    def attach(self, client: ConnectedClient, positions: Mapping[str, Position]) -> None:
        """Go on with a connection whose client stands at these positions.

        Topics that it does not name it knows nothing of (a join whose answer got lost): they are
        left. Each other one answers for itself, by its owner or by `topic.lost`.
        """
        self._client = client
        for topic, held in list(self._held.items()):
            held.believed = topic in positions
            if not held.believed:
                self._stands(topic, held, held.membership.gives_up(keep_place=True))
        for topic, position in positions.items():
            self._resume(client, topic, position)

    def detach(self) -> None:
        """There is no connection now."""
        self._client = None

    # --- what the client asks --------------------------------------------------------------------

    def join(self, client: ConnectedClient, ref: int | None, topic: str) -> None:
        """Ask to become a member."""
        if not client.may_ask(ref):
            return
        held = self._take(topic)
        if isinstance(held, RequestError):
            client.refuse(held, ref)
            return
        timeout_s = self._settings.ask_timeout_s
        until = self._actor.system.now() + timeout_s
        message = Join(self._who, client.id, until)
        joined = self._ask_in(topic, held, message, timeout_s)
        client.begin(ref, joined)

    def leave(self, client: ConnectedClient, ref: int | None, topic: str) -> None:
        """Ask to be no member any more. What becomes of a leave without a ref nobody is told, so it
        is owed, and takes none of what the client may have under way.
        """
        if ref is not None and not client.may_ask(ref):
            return
        held = self._held.get(topic)
        if held is None:
            client.ok(ref)
            return
        if ref is None:
            if held.leaving:
                return
            held.membership = held.membership.gives_up(keep_place=False)
            held.believed = False
        message = Leave(self._who)
        client.begin(ref, self._ask_out(topic, held, message, self._settings.ask_timeout_s))

    def pass_on(
        self, client: ConnectedClient, ref: int | None, topic: str, message: msgspec.Struct
    ) -> None:
        """Ask the owner of a topic that the session is in."""
        if not client.may_ask(ref) or not client.has_room(ref):
            return
        held = self._held.get(topic)
        if held is None or held.leaving:
            client.refuse(RequestError(NOT_JOINED), ref)
        else:
            self._begin(client, ref, held.owner, message)

    def repeat(
        self, client: ConnectedClient, ref: int | None, topic: str, message: msgspec.Struct
    ) -> None:
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
            self._begin(client, ref, self._owner(topic), message)

    def create(
        self,
        client: ConnectedClient,
        ref: int | None,
        actor: tuple[str, str],
        message: msgspec.Struct,
    ) -> None:
        """Ask an actor to bring something to life, a match say, which costs what a join costs that
        does.
        """
        if not client.may_ask(ref) or not client.has_room(ref):
            return
        now = self._actor.system.now()
        refused = self._activations.charge(now, self._budget, self._shared)
        if refused is not None:
            client.refuse(refused, ref)
        else:
            timeout_s = self._settings.ask_timeout_s
            target = self._actor.system.ref(*actor)
            client.begin(ref, _ask_again_if_fenced(target, message, timeout_s))

    def ask_actor(
        self,
        client: ConnectedClient,
        ref: int | None,
        actor: tuple[str, str],
        message: msgspec.Struct,
    ) -> None:
        """Ask an actor that has no topic."""
        if client.may_ask(ref) and client.has_room(ref):
            self._begin(client, ref, self._actor.system.ref(*actor), message)

    def _begin(
        self, client: ConnectedClient, ref: int | None, target: ActorRef, message: msgspec.Struct
    ) -> None:
        client.begin(ref, target.ask(message, timeout=self._settings.ask_timeout_s))

    # --- what the owners answer ------------------------------------------------------------------

    def answered(self, message: Answered) -> None:
        """Take what became of a request to be in a topic, or out of it."""
        # It is there: a topic with a request under way is not dropped.
        topic, held = message.topic, self._held[message.topic]
        membership, number = held.membership, message.number
        if message.asked in (Leave, Part):
            answer = _out(message.done)
            if answer is Answer.DONE and message.asked is Leave:
                held.believed = False
            self._stands(topic, held, membership.answered_out(number, answer))
            return
        answer, error, client = _in(message.done), message.done.exception(), message.client
        membership = membership.answered_in(number, answer)
        if answer is Answer.DONE:
            held.believed = True
        elif error is None:
            held.believed = False  # it was told of the end
        elif (
            client is not None
            and client is self._client
            and number == membership.entered  # else a join has been asked since, and tells
        ):
            client.push(TopicLost(topic=topic, code=request_error(error).error.code))
            held.believed = False
            membership = membership.gives_up(keep_place=True)
        self._stands(topic, held, membership)

    def part_again(self, topic: str) -> None:
        """Ask for what is still owed."""
        held = self._held.get(topic)
        if held is not None and held.membership.due:
            self._part(topic, held)

    def gone(self, topic: str) -> None:
        """The owner has ended the membership; the client has been told."""
        held = self._held.get(topic)
        if held is not None:
            held.believed = False
            self._stands(topic, held, held.membership.gone())

    # --- within ----------------------------------------------------------------------------------

    def _owner(self, topic: str) -> ActorRef:
        kind, _, key = topic.partition(":")
        return self._actor.system.ref(kind, key)

    def _charge(self, topic: str) -> RequestError | None:
        """Charge the session if this brings the owner of a topic that it is not in to life; with
        what to refuse it, if so.
        """
        if topic in self._held:
            return None
        return self._activations.refuse(
            self._actor.system, self._budget, self._shared, self._owner(topic)
        )

    def _take(self, topic: str) -> TopicMembership | RequestError:
        """How the session stands to a topic, as it does or anew and paid for; or why it cannot."""
        held = self._held.get(topic)
        if held is not None:
            return held
        refused = self._charge(topic)
        if refused is not None:
            return refused
        if not self._has_room():
            return RequestError(TOO_MANY_TOPICS)
        held = self._held[topic] = TopicMembership(self._owner(topic))
        return held

    def _has_room(self) -> bool:
        """Whether one more topic is allowed. Topics that are being left do not count, as long as
        they are fewer than the limit themselves.
        """
        count, limit = len(self._held), self._settings.topics
        if count < limit:
            return True
        left = sum(held.leaving for held in self._held.values())
        return count - left < limit and left < limit

    def _resume(self, client: ConnectedClient, topic: str, position: Position) -> None:
        held = self._take(topic)
        if isinstance(held, RequestError):
            client.push(TopicLost(topic=topic, code=held.error.code))
            return
        held.believed = True
        timeout_s = self._settings.resume_timeout_s
        message = Resume(
            self._who,
            client.id,
            position.epoch,
            position.offset,
            until=self._actor.system.now() + timeout_s,
        )
        self._ask_in(topic, held, message, timeout_s, client)

    def _ask_in(
        self,
        topic: str,
        held: TopicMembership,
        message: Join | Resume,
        timeout_s: float,
        client: ConnectedClient | None = None,
    ) -> Future[Any]:
        held.membership = held.membership.asks_in()
        return self._ask(topic, held, message, timeout_s, client)

    def _ask_out(
        self, topic: str, held: TopicMembership, message: Leave | Part, timeout_s: float
    ) -> Future[Any]:
        held.membership = held.membership.asks_out()
        return self._ask(topic, held, message, timeout_s)

    def _ask(
        self,
        topic: str,
        held: TopicMembership,
        message: TopicMessage,
        timeout_s: float,
        client: ConnectedClient | None = None,
    ) -> Future[Any]:
        done = held.owner.ask(message, timeout=timeout_s)
        number = held.membership.last
        self._actor.pipe_to_self(done, partial(Answered, topic, number, type(message), client))
        return done

    def _stands(self, topic: str, held: TopicMembership, membership: Membership) -> None:
        """Note how a membership stands now, and see to what is owed."""
        held.membership = membership
        if membership.over:
            del self._held[topic]
            if held.believed and self._client is not None:
                self._client.push(TopicLost(topic=topic, code=NOT_JOINED.code))
        elif membership.due and membership.tries:
            delay_s = AGAIN.delay_s(membership.tries + 1, self._actor.system.random)
            self._actor.start_timer(delay_s, PartAgain(topic), name=f"part:{topic}")
        elif membership.due:
            self._part(topic, held)

    def _part(self, topic: str, held: TopicMembership) -> None:
        # Without a deadline: then one such message waits for its owner, however long that is
        # occupied, and whoever waits is told in the end.
        message = Part(self._who, held.membership.keeps_place)
        self._ask_out(topic, held, message, math.inf)


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
