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
from actors.edge.failures import request_error
from actors.edge.identity import Identity
from actors.edge.owner_answers import OwnerAnswered, Resuming
from actors.edge.put_off import Drained, PutOffResumes
from actors.edge.rules.membership import AnswerMeaning, Membership
from actors.edge.settings import SessionSettings
from actors.edge.topic_messages import (
    Join,
    Leave,
    Part,
    PutOff,
    Resume,
    Resumed,
    TopicMessage,
)
from actors.edge.topics import Topics
from actors.runtime.actor import Actor
from actors.runtime.errors import AskTimeout
from actors.runtime.future import Future
from actors.runtime.ref import ActorRef
from actors.runtime.restart import Backoff
from protocol.errors import NOT_JOINED, PART_LOST, TOO_MANY_TOPICS, RequestError
from protocol.messages.envelope import Position
from protocol.messages.session import TopicLost

AGAIN: Final = Backoff(first_s=0.1, factor=2.0, max_s=5.0)
"""The pauses between attempts to leave a topic whose owner was too busy."""
RESUMES: Final = 8
"""How many resumes that were put off are sent again together, once the outbox has drained. Most of
them have little to push; each one that has too much is put off again."""


class PartAgain(msgspec.Struct, frozen=True, gc=False):
    """Timer: tell the owner of the topic once more that the session is out."""

    topic: str


class TopicMembership:
    """A topic that the session may be in: its owner, and the state of the membership."""

    __slots__ = ("believed", "membership", "owner", "resumed")

    def __init__(self, owner: ActorRef) -> None:
        self.owner = owner
        self.membership = Membership()
        self.believed = False
        """The client was told that it is a member, so it must be told when the membership ends."""
        self.resumed = 0
        """The number of the newest resume. A leave before it was another connection's, so its
        answer tells the present client nothing."""


class Memberships:
    """The topics that a session is in, is joining, or has left without the owner's answer yet.

    The owner of a topic decides who is a member. This record follows the owner's answers. A topic
    stays in it until the owner has said that the session is out, or has ended; so the record never
    misses a topic that the owner counts the session in. It has two uses: it limits the topics of a
    session, and a request for a topic that the session is not in is refused without waking a room.

    A session that ends leaves no topic by itself, because owners watch their members' sessions.

    Arguments:
        actor: the session's actor; answers come to it as messages.
        settings: the limits and time limits of a session.
        who: the session and its user.
        activations: the node's budget for actors that are not in memory yet.
        share: the session's share in its address's budgets; None: the address has no limits.
        topics: the hub of this node.
    """

    __slots__ = (
        "_activations", "_actor", "_budget", "_client", "_held", "_put_off", "_settings",
        "_shared", "_topics", "_who",
    )  # fmt: skip

    def __init__(
        self,
        actor: Actor,
        settings: SessionSettings,
        who: Identity,
        *,
        activations: Activations,
        share: Share | None,
        topics: Topics,
    ) -> None:
        self._actor = actor
        self._activations = activations
        self._budget = activations.of_session()
        self._shared = None if share is None else share.activations
        self._settings = settings
        self._topics = topics
        self._who = who
        self._client: ConnectedClient | None = None
        self._held: dict[str, TopicMembership] = {}
        self._put_off = PutOffResumes(actor)

    def __contains__(self, topic: str) -> bool:
        held = self._held.get(topic)
        return held is not None and not held.membership.gave_up

    def stages(self) -> dict[str, str]:
        """The stage of each membership, by topic."""
        return {topic: held.membership.stage for topic, held in self._held.items()}

    # --- the client's connection -----------------------------------------------------------------

    def attach(self, client: ConnectedClient, positions: Mapping[str, Position]) -> None:
        """Go on with a new connection, whose client has read its topics up to `positions`.

        The client does not know of a topic that it does not name (the answer to a join got lost),
        so the session leaves that topic. Each topic that it names is resumed: its owner pushes what
        was missed, or the client gets `topic.lost`.

        The owners are asked all at once, so that each of them has the session as a member before
        the client's next request. A resume whose push has no room in the outbox is put off until
        the outbox has drained. Without that, a client that had missed more than its outbox holds
        would be closed as a slow consumer each time it came back.
        """
        self.detach()
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
        self._put_off.drop_all()

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
        message = Join(self._who, client.id, until, _room_for_answer(client))
        joined = self._ask_in(topic, held, message, timeout_s)
        client.begin(ref, joined, in_order=True)

    def leave(self, client: ConnectedClient, ref: int | None, topic: str) -> None:
        """Ask to end the membership.

        The client of a leave without a ref gets no answer and cannot retry, so the session retries
        for it. Such a leave does not count among the client's requests under way.
        """
        if ref is not None and not client.may_ask(ref):
            return
        held = self._held.get(topic)
        if held is None:
            client.ok(ref)
            return
        if ref is None:
            if held.membership.gave_up:
                return
            held.membership = held.membership.gives_up(keep_place=False)
            held.believed = False
            self._put_off.drop(topic)
        message = Leave(self._who)
        client.begin(ref, self._ask_out(topic, held, message, self._settings.ask_timeout_s))

    def pass_on(
        self, client: ConnectedClient, ref: int | None, topic: str, message: msgspec.Struct
    ) -> None:
        """Pass a request on to the owner of a topic that the session is in."""
        if not client.may_ask(ref) or not client.has_room(ref):
            return
        held = self._held.get(topic)
        if held is None or held.membership.gave_up:
            client.refuse(RequestError(NOT_JOINED), ref)
        else:
            client.begin(ref, held.owner.ask(message, timeout=self._settings.ask_timeout_s))

    def repeat(
        self, client: ConnectedClient, ref: int | None, topic: str, message: msgspec.Struct
    ) -> None:
        """Ask the owner of a topic, joined or not, to repeat an answer that it has given.

        This is for a match that has ended: it has no members any more, but a player may still lack
        the answer to the input that ended it. Any session can make the request, and the request
        loads the match from the stores, so it is charged like a join.
        """
        if not client.may_ask(ref):
            return
        owner = self._owner(topic)
        refused = None if topic in self._held else self._charge(owner)
        if refused is not None:
            client.refuse(refused, ref)
        else:
            client.begin(ref, owner.ask(message, timeout=self._settings.ask_timeout_s))

    def may_activate(self, client: ConnectedClient, ref: int | None) -> bool:
        """Whether a request may bring a new actor to life. If not, the request is refused.

        It is charged like a join that loads a room from the stores.
        """
        now = self._actor.system.now()
        refused = self._activations.charge(now, self._budget, self._shared)
        if refused is not None:
            client.refuse(refused, ref)
        return refused is None

    def ask_actor(
        self,
        client: ConnectedClient,
        ref: int | None,
        actor: tuple[str, str],
        message: msgspec.Struct,
    ) -> None:
        """Pass a request on to an actor that owns no topic."""
        if client.may_ask(ref) and client.has_room(ref):
            target = self._actor.system.ref(*actor)
            client.begin(ref, target.ask(message, timeout=self._settings.ask_timeout_s))

    # --- what the owners answer ------------------------------------------------------------------

    def answered(self, message: OwnerAnswered) -> None:
        """Take the answer to a join, a resume, a leave or a part."""
        # The topic is in `_held`, because a topic with a request under way is never dropped.
        topic, held = message.topic, self._held[message.topic]
        membership, number = held.membership, message.number
        if message.asked in (Leave, Part):
            answer = message.meaning_out()
            if answer is AnswerMeaning.DONE and message.asked is Leave and number > held.resumed:
                held.believed = False
                self._put_off.drop(topic)
            self._stands(topic, held, membership.answered_out(number, answer))
            # After a leave that failed: its topic may have been put off.
            self._put_off.await_room(self._client)
            return
        answer, error, resuming = message.meaning_in(), message.done.exception(), message.resuming
        if resuming is not None and resuming.client is not self._client:
            resuming = None  # that client has gone
        membership = membership.answered_in(number, answer)
        newest = number == membership.entered  # else a later join answers the client
        if resuming is not None and newest and error is not None:
            if not self._topics.give_up_resume(self._who.session, topic, resuming.attempt):
                # The owner has pushed something, so only the client knows its position now.
                resuming.client.close(PART_LOST)
                self._stands(topic, held, membership)
                return
            if self._is_lost(error, resuming):
                held.membership = membership
                self._resume(resuming.client, topic, resuming.position, resuming.until)
                return
        if answer is AnswerMeaning.DONE:
            held.believed = True
        elif error is None:
            held.believed = False  # the answer told the client that the match has ended
        elif resuming is not None and newest:
            resuming.client.push(TopicLost(topic=topic, code=request_error(error).error.code))
            held.believed = False
            membership = membership.gives_up(keep_place=True)
        self._stands(topic, held, membership)
        if resuming is None:
            return
        if error is None and message.done.result() is Resumed.LATER and not membership.gave_up:
            self._put_off.keep(topic, resuming.position)
        self._put_off.await_room(self._client)

    def put_off(self, message: PutOff) -> None:
        """Resume from there once the outbox has drained, as after `Resumed.LATER`."""
        client, topic = self._client, message.topic
        held = self._held.get(topic)  # None: a match that has ended, which its client may not know
        given_up = held is not None and held.membership.gave_up
        if client is not None and client.id == message.connection and not given_up:
            self._put_off.keep(topic, Position(message.epoch, message.offset))
            self._put_off.await_room(self._client)

    def drained(self, message: Drained) -> None:
        """Send again resumes that were put off."""
        client = message.client
        if client is not self._client:
            return
        asked = 0
        for topic, position in self._put_off.after_drain(self._is_leaving):
            asked += self._resume(client, topic, position)
            if asked == RESUMES:
                break

    def part_again(self, topic: str) -> None:
        """Send the owner another `Part`, if the session still has to leave."""
        held = self._held.get(topic)
        if held is not None and held.membership.due:
            self._part(topic, held)

    def gone(self, topic: str) -> None:
        """Note that the owner has ended the membership. The client has been told."""
        held = self._held.get(topic)
        if held is not None:
            held.believed = False
            self._stands(topic, held, held.membership.gone())

    # --- within ----------------------------------------------------------------------------------

    def _is_leaving(self, topic: str) -> bool:
        held = self._held.get(topic)
        return held is not None and held.membership.stage == "leaving"

    def _owner(self, topic: str) -> ActorRef:
        kind, _, key = topic.partition(":")
        return self._actor.system.ref(kind, key)

    def _charge(self, owner: ActorRef) -> RequestError | None:
        """Charge the session if a request to a topic's owner loads it from the stores.

        Returns the refusal if a budget is used up. It is for topics that are not in `_held`; a
        request to one that is costs nothing.
        """
        return self._activations.refuse(self._actor.system, self._budget, self._shared, owner)

    def _take(self, topic: str) -> TopicMembership | RequestError:
        """Return the membership in a topic, a new one if there is none yet; or the refusal."""
        held = self._held.get(topic)
        if held is not None:
            return held
        owner = self._owner(topic)
        refused = self._charge(owner)
        if refused is not None:
            return refused
        if not self._has_room():
            return RequestError(TOO_MANY_TOPICS)
        held = self._held[topic] = TopicMembership(owner)
        return held

    def _has_room(self) -> bool:
        """Whether one more topic is allowed.

        Topics that are being left do not count, as long as fewer than the limit are being left.
        """
        count, limit = len(self._held), self._settings.topics
        if count < limit:
            return True
        left = sum(held.membership.gave_up for held in self._held.values())
        return count - left < limit and left < limit

    def _is_lost(self, error: BaseException | None, resuming: Resuming) -> bool:
        """Whether no answer to a resume will come, though it is not late: its owner's node is gone,
        or the way to it was. Whoever owns the topic now is asked then.
        """
        return isinstance(error, AskTimeout) and self._actor.system.now() < resuming.until

    def _resume(
        self,
        client: ConnectedClient,
        topic: str,
        position: Position,
        until: float | None = None,
    ) -> bool:
        """Ask the owner; or push `topic.lost` and return False."""
        if not self._actor.system.registered(topic.partition(":")[0]):
            # Of a service that this server has not. No try would find it, so none is asked for.
            client.push(TopicLost(topic=topic, code=NOT_JOINED.code))
            return False
        held = self._take(topic)
        if isinstance(held, RequestError):
            client.push(TopicLost(topic=topic, code=held.error.code))
            return False
        held.believed = True
        now = self._actor.system.now()
        if until is None:
            until = now + self._settings.resume_timeout_s
        attempt = self._topics.begin_resume(self._who.session, topic)
        message = Resume(
            self._who, client.id, position.epoch, position.offset, until=until, attempt=attempt
        )
        resuming = Resuming(client, position, until, attempt)
        self._ask_in(topic, held, message, until - now, resuming)
        held.resumed = held.membership.last
        return True

    def _ask_in(
        self,
        topic: str,
        held: TopicMembership,
        message: Join | Resume,
        timeout_s: float,
        resuming: Resuming | None = None,
    ) -> Future[Any]:
        held.membership = held.membership.asks_in()
        return self._ask(topic, held, message, timeout_s, resuming)

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
        resuming: Resuming | None = None,
    ) -> Future[Any]:
        done = held.owner.ask(message, timeout=timeout_s)
        number, asked = held.membership.last, type(message)
        self._actor.pipe_to_self(done, partial(OwnerAnswered, topic, number, asked, resuming))
        return done

    def _stands(self, topic: str, held: TopicMembership, membership: Membership) -> None:
        """Keep the new state of a membership, and tell the owner of a leave that is still due."""
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
        # Without a deadline, one message waits for as long as its owner is occupied. With one, a
        # message a deadline would pile up there. An owner that stops answers what is left.
        message = Part(self._who, held.membership.keeps_place)
        self._ask_out(topic, held, message, math.inf)


def _room_for_answer(client: ConnectedClient) -> int:
    """Return how many bytes an owner on another node may answer a join with.

    The n-th request under way gets the n-th square's part of the room, so that all the answers
    together need less than twice the room. An owner uses half of it.
    """
    nth = len(client.in_flight) + 1
    return max(0, client.outbox.room_bytes) // (nth * nth)
