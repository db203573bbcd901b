"""The topics of other nodes that sessions of this node are in: the hub's other half.

The owners of these topics work with the hubs of their own nodes, which tell this node what to do
(hub_messages.py). It is done here in the order in which it comes, to the same audiences as for a
topic of this node. What is for a connection that has gone is not done, and the owner's hub is told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial
from typing import Final

import structlog

from actors.edge.audience import Audience, Listener, Recipient
from actors.edge.blocks import without
from actors.edge.hub_messages import (
    Adopt,
    Dissolve,
    FromOwner,
    Gone,
    HandOver,
    NewIncarnation,
    Publish,
    PublishEach,
    PublishState,
    PublishTo,
    Recover,
    Subscribe,
    Unsubscribe,
)
from actors.edge.hubs import Hubs
from actors.edge.topics import Topics
from actors.runtime.system_view import SystemView
from protocol.codec import MSGPACK
from protocol.errors import PART_LOST

SPREAD_S: Final = 1.0
"""Over how long the connections are closed whose topics' node is gone, so that their clients do not
come back all at once. A client waits before it reconnects as well."""

_log = structlog.get_logger("actors.edge.remote_topics")


class RemoteAudience(Audience):
    """The members of another node's topic on this node. All of `members` are sessions of this node.

    `owner`: the node of the topic's owner, which is told of each member that gets no pushes any
    more.
    """

    __slots__ = ("_hubs", "_numbers", "owner")

    def __init__(self, owner: str, topic: str, hubs: Hubs) -> None:
        super().__init__(topic)
        self.owner = owner
        self._hubs = hubs
        self._numbers: dict[str, int] = {}  # session -> that of its subscription

    def subscribe(self, listener: Listener, message: Subscribe) -> None:
        """Make a session a member; paused, if it has another connection or none by now."""
        self.epoch = message.epoch
        self._numbers[message.session] = message.number
        self.add(listener)
        if not listener.has(message.connection):
            super().pause(message.session)
            self._tell_gone(message.session)

    def remove(self, session: str) -> bool:
        self._numbers.pop(session, None)
        return super().remove(session)

    def pause(self, session: str) -> bool:
        if not super().pause(session):
            return False
        self._tell_gone(session)
        return True

    def _tell_gone(self, session: str) -> None:
        self._hubs.tell(self.owner, Gone(self.topic, session, self._numbers[session]))


class RemoteTopics:
    """Does what the owners on other nodes want done for sessions of this node.

    Arguments:
        topics: the hub of this node.
        hubs: the way to the hubs of other nodes.
        system: for the time, and for chance.
    """

    def __init__(self, topics: Topics, hubs: Hubs, system: SystemView) -> None:
        self._topics = topics
        self._hubs = hubs
        self._system = system
        self._of: dict[str, dict[str, RemoteAudience]] = {}  # owner's node -> topic -> audience

    def audience(self, message: FromOwner) -> RemoteAudience | None:
        """Return the members here of the topic that a message is about; None: there are none."""
        return self._of.get(message.owner, {}).get(message.topic)

    # --- members ---------------------------------------------------------------------------------

    def subscribe(self, message: Subscribe) -> None:
        """Make a session a member, if it has not ended."""
        listener = self._topics.listener(message.session)
        if listener is None:  # the owner learns it as well, since it watches the session
            self._hubs.tell(message.owner, Gone(message.topic, message.session, message.number))
            return
        there, present = self.audience(message), listener.topics.get(message.topic)
        if present is not None and present is not there and present.epoch > message.epoch:
            return  # that owner has been succeeded, and is about to learn it
        if there is None:
            there = RemoteAudience(message.owner, message.topic, self._hubs)
            self._of.setdefault(message.owner, {})[message.topic] = there
        there.subscribe(listener, message)

    def unsubscribe(self, message: Unsubscribe) -> None:
        """End a membership."""
        there = self.audience(message)
        if there is not None and there.remove(message.session) and not there.members:
            self._forget(message)

    def take_over(self, message: NewIncarnation) -> None:
        """Note that another incarnation of the owner publishes from here on."""
        there = self.audience(message)
        if there is not None:
            there.epoch = message.epoch

    def dissolve(self, message: Dissolve) -> list[Listener]:
        """Remove all members of a topic, and return them; they are to be told."""
        there = self._forget(message)
        return [] if there is None else there.release()

    # --- pushes ----------------------------------------------------------------------------------

    def publish(self, message: Publish) -> None:
        """Push to all members. Raises `EncodeError`."""
        there = self.audience(message)
        if there is not None:
            self._topics.relay(
                there, message.push, more=message.more, author=message.author, about=message.about
            )

    def publish_state(self, message: PublishState) -> None:
        """Push a state to all members. Raises `EncodeError`."""
        there = self.audience(message)
        if there is not None:
            self._topics.relay(there, message.push, state=True)

    def publish_each(self, message: PublishEach) -> None:
        """Push to each member the message of its user. Raises `EncodeError`."""
        there = self.audience(message)
        if there is None:
            return
        for session, link in list(there.live.items()):
            push = message.pushes.get(there.members[session].who.user)
            if push is None:
                continue  # it was no member when the owner published
            frame = link.encoding.reframe(push)
            if message.state:
                link.outbox.replace(message.topic, frame)
            else:
                link.outbox.push(frame)
            self._topics.delivered += 1

    def publish_to(self, message: PublishTo) -> None:
        """Push to some members. Raises `EncodeError`."""
        there = self.audience(message)
        if there is None:
            return
        for session in message.sessions:
            link = there.live.get(session)
            if link is not None:
                users = self._topics.blocks.of(there.members[session].who.user)
                for frame in reframed(link, [message.push], users):
                    link.outbox.push(frame)
                    self._topics.delivered += 1

    def recover(self, message: Recover) -> bool:
        """Push to one session what it missed. Returns False if there is no room for that now: then
        it gets no pushes of the topic until the owner subscribes it again. Raises `EncodeError`.

        Nothing is pushed for an attempt that the session has given up. It has resumed from the
        same position once more, and would be pushed the same twice.
        """
        listener = self._topics.listener(message.session)
        if listener is None or listener.link is None or not listener.has(message.connection):
            return True
        awaited = listener.pushes_for(message.topic, message.attempt)
        link, users = listener.link, listener.blocking.users
        if awaited and self._topics.push_all(link, reframed(link, message.pushes, users)):
            return True
        there = self.audience(message)
        if there is not None:
            there.pause(message.session)
        return not awaited

    # --- owners that move, and nodes that die ----------------------------------------------------

    def hand_over(self, message: HandOver) -> Adopt | None:
        """Let a topic go whose owner lives on another node from here on.

        Returns what names the members here to the owner; None: there are none. They get no pushes
        until the owner has adopted them.
        """
        there = self._forget(message)
        return None if there is None else there.hand_over()

    def give_up(self, adopt: Adopt) -> None:
        """Have those members resume whom the owner of their topic has not adopted."""
        found = ((self._topics.listener(one.who.session), one.connection) for one in adopt.members)
        self._part([one for one, connection in found if one is not None and one.has(connection)])

    def node_lost(self, owner: str) -> None:
        """Have all members of the topics of a node resume, whether it is dead or they missed a push
        of it. Their connections are closed, spread over `SPREAD_S`.
        """
        lost = self._of.pop(owner, {})
        parted: dict[str, Listener] = {}
        for there in lost.values():
            for session, link in list(there.live.items()):
                listener = self._topics.listener(session)
                if listener is not None and listener.link is link:
                    parted[session] = listener
                there.pause(session)
            there.release()
        if parted:
            _log.warning("topics_lost", node=owner, topics=len(lost), sessions=len(parted))
        self._part(parted.values())

    def all_lost(self) -> None:
        """Have all members of all other nodes' topics resume."""
        for owner in list(self._of):
            self.node_lost(owner)

    def node_down(self, node: str) -> None:
        """A node is dead, and nothing will be heard of it any more."""
        self.node_lost(node)
        self._hubs.forget(node)

    def _part(self, listeners: Iterable[Listener]) -> None:
        for listener in listeners:
            if listener.link is not None:
                delay_s = SPREAD_S * self._system.random.random()
                close = partial(self._close, listener, listener.link.id)
                self._system.after(delay_s, close)

    def _close(self, listener: Listener, connection: int) -> None:
        if listener.link is not None and listener.link.id == connection:
            listener.link.close(PART_LOST)

    def _forget(self, message: FromOwner) -> RemoteAudience | None:
        topics = self._of.get(message.owner)
        there = None if topics is None else topics.pop(message.topic, None)
        if topics is not None and not topics:
            del self._of[message.owner]
        return there


def reframed(link: Recipient, pushes: Iterable[bytes], users: Collection[str]) -> list[bytes]:
    """Frame pushes of another node for a connection, without what is of these users.

    Raises `EncodeError`.
    """
    if not users:
        return [link.encoding.reframe(push) for push in pushes]
    shown = (without(MSGPACK.decode_server(push), users) for push in pushes)
    return [link.encoding.frame(push) for push in shown if push is not None]
