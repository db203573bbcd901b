"""The actor by which the hubs of other nodes reach the hub of this one."""

from __future__ import annotations

from types import TracebackType
from typing import Any, ClassVar, Final

import msgspec

from actors.edge.hub_messages import (
    Adopt,
    AskOnline,
    Dismissed,
    Dissolve,
    Gone,
    HandOver,
    InTurn,
    Lapsed,
    NameMembers,
    NewIncarnation,
    OnlineThere,
    Publish,
    PublishEach,
    PublishState,
    PublishTo,
    Recover,
    Subscribe,
    Unsubscribe,
)
from actors.edge.hubs import KIND
from actors.edge.remote_topics import RemoteTopics
from actors.edge.topic_messages import PutOff, RemovedFromTopic
from actors.edge.topics import Topics
from actors.edge.warden import tell_session
from actors.runtime.actor import Actor
from actors.runtime.future import Future
from actors.runtime.handlers import handles
from actors.runtime.kinds import Kind
from actors.runtime.mailbox import MailboxSpec

ADOPT_WITHIN_S: Final = 5.0
"""How long the owner of a topic may take to adopt members, before they have to resume."""


class Named(msgspec.Struct, frozen=True):
    """The hub to itself: the owner has adopted those members, or has not."""

    adopt: Adopt
    done: Future[Any]


class Hub(Actor):
    """Takes the messages of other nodes' hubs, in order, and has the two halves of this hub act.

    It has no state of its own. The mailbox is large because a sender cannot be told that it is
    full: what is lost here is a gap that nobody sees.
    """

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=100_000)

    def __init__(self, topics: Topics, remote: RemoteTopics) -> None:
        super().__init__()
        self._topics = topics
        self._remote = remote

    # --- of owners on other nodes ----------------------------------------------------------------

    @handles(Subscribe)
    def subscribe(self, message: Subscribe) -> None:
        """Make a session a member."""
        self._remote.subscribe(message)

    @handles(Unsubscribe)
    def unsubscribe(self, message: Unsubscribe) -> None:
        """End a membership."""
        self._remote.unsubscribe(message)

    @handles(Publish)
    def publish(self, message: Publish) -> None:
        """Push to all members."""
        self._remote.publish(message)

    @handles(PublishState)
    def publish_state(self, message: PublishState) -> None:
        """Push a state to all members."""
        self._remote.publish_state(message)

    @handles(PublishEach)
    def publish_each(self, message: PublishEach) -> None:
        """Push to each member the message of its user."""
        self._remote.publish_each(message)

    @handles(PublishTo)
    def publish_to(self, message: PublishTo) -> None:
        """Push to some members."""
        self._remote.publish_to(message)

    @handles(Recover)
    def recover(self, message: Recover) -> None:
        """Push to one session what it missed, or have it resume again once there is room."""
        if not self._remote.recover(message):
            put_off = PutOff(message.topic, message.connection, message.epoch, message.offset)
            tell_session(self.system, message.session, put_off)

    @handles(NewIncarnation)
    def take_over(self, message: NewIncarnation) -> None:
        """Note which incarnation publishes."""
        self._remote.take_over(message)

    @handles(Dissolve)
    def dissolve(self, message: Dissolve) -> None:
        """Remove all members, and tell their sessions."""
        for listener in self._remote.dissolve(message):
            tell_session(self.system, listener.who.session, RemovedFromTopic(message.topic))

    @handles(Dismissed)
    def dismissed(self, message: Dismissed) -> None:
        """Tell a session that it is out."""
        tell_session(self.system, message.session, RemovedFromTopic(message.topic))

    @handles(HandOver)
    def hand_over(self, message: HandOver) -> None:
        """Name the members to the owner, where it lives now."""
        adopt = self._remote.hand_over(message)
        if adopt is not None:
            self.name_members(NameMembers(message.topic, adopt))

    @handles(NameMembers, local=True)
    def name_members(self, message: NameMembers) -> None:
        """Name members to the owner of their topic."""
        adopt = message.adopt
        kind, _, key = message.topic.partition(":")
        done = self.system.ref(kind, key).ask(adopt, timeout=ADOPT_WITHIN_S)
        self.pipe_to_self(done, lambda done: Named(adopt, done))

    @handles(Named, local=True)
    def named(self, message: Named) -> None:
        """Have the members resume if they were not adopted."""
        error = message.done.exception()
        if error is not None:
            self.log.warning("not_adopted", members=len(message.adopt.members), error=repr(error))
            self._remote.give_up(message.adopt)

    @handles(Lapsed)
    def lapsed(self, message: Lapsed) -> None:
        """Have all members of that node's topics resume."""
        self._remote.node_lost(message.owner)

    # --- of members' hubs ------------------------------------------------------------------------

    @handles(Gone)
    def gone(self, message: Gone) -> None:
        """Note that a member gets no pushes."""
        self._topics.gone(message.topic, message.session, message.number)

    @handles(AskOnline)
    def online(self, message: AskOnline) -> OnlineThere:
        """Say which of these users have a connection here."""
        return OnlineThere(self._topics.users.here(message.users))

    @handles(InTurn, local=True)
    def in_turn(self, message: InTurn) -> None:
        """Do what had to wait for all that other nodes have told before."""
        message.call()

    # --- within ----------------------------------------------------------------------------------

    def on_failure(
        self,
        exception_type: type[BaseException] | None,  # noqa: ARG002 - Pykka's hook
        exception_value: BaseException | None,  # noqa: ARG002
        traceback: TracebackType | None,  # noqa: ARG002
    ) -> None:
        """Have all members of other nodes' topics resume: the message that failed is lost."""
        self._remote.all_lost()


def hub_kind(topics: Topics, remote: RemoteTopics) -> Kind:
    """Return the kind for `ActorSystem.register`; its only actor's key is the id of the node."""

    class ConfiguredHub(Hub):
        def __init__(self, _node: str) -> None:
            super().__init__(topics, remote)

    return Kind(
        name=KIND, factory=ConfiguredHub, restart="permanent", placement="node", patient=True
    )
