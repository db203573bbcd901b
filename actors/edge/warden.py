"""The warden of topics: takes care of the members when the owner of a topic has ended.

A room that crashes is restarted, and its members stay. A room that keeps crashing ends as failed;
then the warden removes its members. It needs one watch for each room, where the sessions would need
one for each member.

A room that lost its log to another incarnation would start again only at its next message. Until
then its members would trust pushes that were never stored. So the warden wakes it. If the room
lives on another node by now, the members follow it.
"""

from __future__ import annotations

import contextlib

import msgspec
import pykka

from actors.edge.topic_messages import ComeBack, RemovedFromTopic
from actors.edge.topics import Topics
from actors.runtime.actor import Actor
from actors.runtime.handlers import handles
from actors.runtime.kinds import Kind
from actors.runtime.messages import Terminated
from actors.runtime.ref import ActorRef
from actors.runtime.system_view import SystemView
from protocol.errors import FAILED, SESSION_FAILED
from protocol.messages.session import TopicLost

KIND = "warden"
SESSION_KIND = "session"


class Guard(msgspec.Struct, frozen=True, gc=False):
    """To the warden: watch the actor (kind, key), the owner of a topic or a session.

    An owner sends it each time it starts, and the gateway sends it for each new session.
    """

    kind: str
    key: str


class Warden(Actor):
    """Watches the owners of topics, and sessions. Each node has one, as it has one hub."""

    def __init__(self, topics: Topics) -> None:
        super().__init__()
        self._topics = topics

    @handles(Guard)
    def guard(self, message: Guard) -> None:
        """Watch an actor."""
        self.watch(self.system.ref(message.kind, message.key))

    @handles(Terminated)
    def ended(self, message: Terminated) -> None:
        """Remove what an actor has left behind in the hub."""
        if message.ref.kind == SESSION_KIND:
            # A session ends itself in the hub and closes its connection in `on_stop`. That hook can
            # fail, and is not called in a node that is cut off. The client may come back.
            link = self._topics.link(message.ref.key)
            self._topics.end_session(message.ref.key)
            if link is not None:
                link.close(SESSION_FAILED)
        else:
            self._owner_ended(message)

    def _owner_ended(self, message: Terminated) -> None:
        """Remove the members of an owner that failed, and bring others to where it lives now.

        An owner that ended for another reason has no members, or the whole system stops.
        """
        topic = f"{message.ref.kind}:{message.ref.key}"
        if message.reason in ("fenced", "moved") and self._topics.members(topic):
            if self.system.belongs_here(message.ref.kind, message.ref.key):
                with contextlib.suppress(pykka.ActorDeadError):
                    message.ref.notify(ComeBack())  # its start takes the members over
            else:
                self._topics.hand_over(topic)
        if message.reason != "failed":
            return
        self._topics.publish(topic, TopicLost(topic=topic, code=FAILED.code))
        members = self._topics.dissolve(topic)
        self.log.warning("topic dissolved", topic=topic, members=len(members))
        for listener in members:
            tell_session(self.system, listener.who.session, RemovedFromTopic(topic))


def warden_kind(topics: Topics) -> Kind:
    """Return the kind for `ActorSystem.register`."""

    class ConfiguredWarden(Warden):
        def __init__(self, _key: str) -> None:
            super().__init__(topics)

    return Kind(name=KIND, factory=ConfiguredWarden, restart="permanent")


def guard(system: SystemView, owner: ActorRef) -> None:
    """Have the warden watch the owner of a topic, or a session."""
    with contextlib.suppress(pykka.ActorDeadError):
        system.ref(KIND, "topics").notify(Guard(owner.kind, owner.key))


def tell_session(system: SystemView, session: str, message: msgspec.Struct) -> None:
    """Tell a session what happened to one of its topics, unless it has ended."""
    with contextlib.suppress(pykka.ActorDeadError):
        system.ref(SESSION_KIND, session).notify(message)
