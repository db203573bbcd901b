"""The warden of topics: sees to the members of an owner that has ended.

A room that crashes is restarted, and its members stay. A room that keeps crashing ends as failed,
and nobody is left to remove its members: the warden does that, with one watch for each room in
place of one for each member. A room that lost its log to an incarnation on another node would come
back only with its next message. Until then its members would believe in pushes that were never
stored.
"""

from __future__ import annotations

import contextlib

import msgspec
import pykka

from actors.edge.topic_messages import ComeBack, TopicGone
from actors.edge.topics import Topics
from actors.runtime.actor import Actor
from actors.runtime.handlers import handles
from actors.runtime.kinds import Kind
from actors.runtime.messages import Terminated
from actors.runtime.ref import ActorRef
from actors.runtime.system_view import SystemView
from protocol.errors import FAILED
from protocol.messages.session import TopicLost

KIND = "warden"
SESSION_KIND = "session"


class Guard(msgspec.Struct, frozen=True, gc=False):
    """From the owner of the topic `<kind>:<key>` when it starts, or of a session that is new."""

    kind: str
    key: str
    comes_back: bool = False
    """Should it lose its log, it is brought back though nobody is in its topic."""


class Warden(Actor):
    """Watches the owners of topics, and sessions. One for each node, as the hub is."""

    def __init__(self, topics: Topics) -> None:
        super().__init__()
        self._topics = topics
        self._come_back: set[tuple[str, str]] = set()

    @handles(Guard)
    def guard(self, message: Guard) -> None:
        """Watch an owner."""
        self.watch(self.system.ref(message.kind, message.key))
        if message.comes_back:
            self._come_back.add((message.kind, message.key))

    @handles(Terminated)
    def ended(self, message: Terminated) -> None:
        """See to what an actor has left behind in the hub."""
        if message.ref.kind == SESSION_KIND:
            # It does so itself, at its end; but nothing may hang on a hook that can fail.
            self._topics.end(message.ref.key)
        else:
            self._owner_ended(message)

    def _owner_ended(self, message: Terminated) -> None:
        """Remove the members of an owner that failed; bring back one that was fenced. An owner that
        ended in another way has no members, or the system stops.
        """
        topic = f"{message.ref.kind}:{message.ref.key}"
        always = (message.ref.kind, message.ref.key) in self._come_back
        if message.reason == "fenced" and (always or self._topics.members(topic)):
            with contextlib.suppress(pykka.ActorDeadError):
                message.ref.notify(ComeBack())
        if message.reason != "failed":
            return
        self._topics.publish(topic, TopicLost(topic=topic, code=FAILED.code))
        members = self._topics.dissolve(topic)
        self.log.warning("topic dissolved", topic=topic, members=len(members))
        for listener in members:
            with contextlib.suppress(pykka.ActorDeadError):
                self.system.ref(SESSION_KIND, listener.who.session).notify(TopicGone(topic))


def warden_kind(topics: Topics) -> Kind:
    """Return the kind for `ActorSystem.register`."""

    class ConfiguredWarden(Warden):
        def __init__(self, _key: str) -> None:
            super().__init__(topics)

    return Kind(name=KIND, factory=ConfiguredWarden, restart="permanent")


def guard(system: SystemView, owner: ActorRef, *, comes_back: bool = False) -> None:
    """Have the warden watch the owner of a topic, or a session; `comes_back`: see `Guard`."""
    with contextlib.suppress(pykka.ActorDeadError):
        system.ref(KIND, "topics").notify(Guard(owner.kind, owner.key, comes_back))
