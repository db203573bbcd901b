"""The members of a topic on other nodes, as the hub of the topic's owner keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from actors.edge.hub_messages import (
    Dissolve,
    FromOwner,
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
from actors.edge.identity import Identity
from actors.edge.topic_messages import Resume
from protocol.codec import MSGPACK


class RemoteMember:
    """A session of another node that is a member of a topic.

    Attributes:
        who: the session and its user.
        node: the id of its node.
        number: that of its newest subscription.
        live: whether it gets the topic's pushes, by what its node has said.
    """

    __slots__ = ("live", "node", "number", "who")

    def __init__(self, who: Identity, node: str) -> None:
        self.who = who
        self.node = node
        self.number = 0
        self.live = False


class _AtNode:
    """How many members a node has, and how many of them get the pushes."""

    __slots__ = ("live", "members")

    def __init__(self) -> None:
        self.members = 0
        self.live = 0


class RemoteMembers:
    """Does for a topic's members on other nodes what the owner asks of its hub.

    Each node's hub is told in the order of these calls. A push is encoded once, and goes once to
    each node that has a member who gets it. No method says whether a push arrived: a node that
    missed one is told so, see `Hubs`.

    Attributes:
        live: how many members get the topic's pushes.
    """

    __slots__ = ("_hubs", "_nodes", "_topic", "live")

    def __init__(self, topic: str, hubs: Hubs) -> None:
        self.live = 0
        self._topic = topic
        self._hubs = hubs
        self._nodes: dict[str, _AtNode] = {}

    # --- who they are ----------------------------------------------------------------------------

    def subscribe(
        self, member: RemoteMember, connection: int, epoch: int, *, anew: bool = False
    ) -> bool:
        """Have a member get the pushes from here on; `anew`: it becomes a member now.

        Whether that connection is the session's is believed: its node says `Gone` if it is not.
        Returns False, and does nothing, if its node takes no messages now.
        """
        hubs, who = self._hubs, member.who
        number = hubs.number()
        message = Subscribe(hubs.node, self._topic, who.session, connection, number, epoch)
        if not hubs.tell(member.node, message):
            return False
        member.number = number
        at = self._nodes.setdefault(member.node, _AtNode())
        at.members += anew
        if not member.live:
            member.live = True
            at.live += 1
            self.live += 1
        return True

    def remove(self, member: RemoteMember) -> bool:
        """End a membership; returns whether there are other members elsewhere."""
        self.pause(member)
        at = self._nodes[member.node]
        at.members -= 1
        if not at.members:
            del self._nodes[member.node]
        self._hubs.tell(member.node, Unsubscribe(self._hubs.node, self._topic, member.who.session))
        return bool(self._nodes)

    def pause(self, member: RemoteMember) -> None:
        """Note that a member gets no pushes until it is subscribed again."""
        if member.live:
            member.live = False
            self._nodes[member.node].live -= 1
            self.live -= 1

    # --- pushes, encoded by the caller once it is known that they can be -------------------------

    def publish(self, push: bytes, *, more: bool, author: str, about: Sequence[str]) -> None:
        """Push to all of them."""
        self._tell_live(Publish(self._hubs.node, self._topic, push, more, author, about))

    def publish_state(self, push: bytes) -> None:
        """Push a state to all of them, conflated."""
        self._tell_live(PublishState(self._hubs.node, self._topic, push))

    def publish_each(
        self,
        members: Iterable[object],
        push_for: Callable[[str], msgspec.Struct],
        *,
        state: bool,
    ) -> None:
        """Push to those of `members` that are elsewhere the message of their user.

        Raises:
            EncodeError: one of the messages cannot be encoded; none was pushed.
        """
        by_node: dict[str, dict[str, bytes]] = {}
        for member in members:
            if isinstance(member, RemoteMember) and member.live:
                pushes, user = by_node.setdefault(member.node, {}), member.who.user
                if user not in pushes:
                    pushes[user] = MSGPACK.encode(push_for(user))
        for node, pushes in by_node.items():
            self._hubs.tell(node, PublishEach(self._hubs.node, self._topic, pushes, state))

    def publish_to(self, members: Iterable[RemoteMember], push: bytes) -> None:
        """Push to those of these members that are subscribed."""
        by_node: dict[str, list[str]] = {}
        for member in members:
            if member.live:
                by_node.setdefault(member.node, []).append(member.who.session)
        for node, sessions in by_node.items():
            self._hubs.tell(node, PublishTo(self._hubs.node, self._topic, sessions, push))

    # --- the owner -------------------------------------------------------------------------------

    def take_over(self, epoch: int) -> None:
        """Another incarnation of the owner publishes from here on."""
        self._tell_all(NewIncarnation(self._hubs.node, self._topic, epoch))

    def dissolve(self) -> None:
        """Nobody is a member any more. The hubs tell the sessions."""
        self._tell_all(Dissolve(self._hubs.node, self._topic))

    def hand_over(self) -> None:
        """The owner lives on another node from here on."""
        self._tell_all(HandOver(self._hubs.node, self._topic))

    def _tell_live(self, message: FromOwner) -> None:
        for node, at in self._nodes.items():
            if at.live:
                self._hubs.tell(node, message)

    def _tell_all(self, message: FromOwner) -> None:
        for node in self._nodes:
            self._hubs.tell(node, message)


def recover_elsewhere(
    hubs: Hubs, node: str, topic: str, asked: Resume, pushes: list[bytes]
) -> bool:
    """Push to a session of another node what it missed, whether it is a member or not.

    Its hub decides whether there is room for it. Returns False if that node takes no messages now.
    """
    who = asked.who
    message = Recover(
        hubs.node, topic, who.session, asked.connection, asked.epoch, asked.offset, pushes,
        asked.attempt,
    )  # fmt: skip
    return hubs.tell(node, message)
