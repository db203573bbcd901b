"""The node's hub of topics: the members of each topic, and the path of a push to all of them.

The path is Phoenix's fastlane: a push is encoded and framed once for each encoding, and the same
bytes are appended to each member's outbox, past the session actors.

The hub is a plain object, not an actor. It outlives the rooms and matches that own its topics, so a
room that crashes finds its members still joined. Its methods never wait, so an owner changes the
members and publishes in one step, and the pushes on a topic are in the order of these calls.

Only the owner of a topic adds and removes its members. A session changes only its own connection. A
member without a connection, or with a new one, is skipped until the owner has pushed what it missed
and subscribes it again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from actors.edge.fanout import FREE, Fanout
from actors.edge.identity import Identity
from actors.edge.rules.bucket import Bucket


class Framer(Protocol):
    """One of the wire's encodings. It is hashable, since members are grouped by it."""

    def frame(self, message: msgspec.Struct) -> bytes:
        """Encode and frame; raises `EncodeError`."""


class PushQueue(Protocol):
    """A connection's queue of frames, bounded in bytes. No method raises."""

    def push(self, frame: bytes) -> None: ...

    def push_soon(self, frame: bytes) -> None: ...

    def replace(self, slot: str, frame: bytes) -> None: ...

    def takes(self, size: int) -> bool: ...

    @property
    def room_bytes(self) -> int: ...


class Recipient(Protocol):
    """What the hub needs of a connection."""

    @property
    def id(self) -> int: ...

    @property
    def encoding(self) -> Framer: ...

    @property
    def outbox(self) -> PushQueue: ...


class Broadcast(Protocol):
    """Puts one frame into many outboxes; the flusher's does it at the least cost."""

    def __call__(self, frame: bytes, outboxes: Sequence[Any], slot: str | None = None) -> None: ...


class Listener:
    """A session as the hub knows it: its identity, and its present connection."""

    __slots__ = ("budget", "link", "shared", "topics", "who")

    def __init__(self, who: Identity) -> None:
        self.who = who
        self.link: Recipient | None = None
        self.budget: Bucket | None = None
        """The session's budget of pushes to others; None: it has not been charged yet."""
        self.shared: Bucket | None = None
        """The budget of all sessions of its address; None: the address has no limits."""
        self.topics: dict[str, _Topic] = {}


class _Topic:
    """A topic: its members in the order they came, and those with a connection in `live`.

    `epoch`: that of the owner's incarnation which publishes on it.
    """

    __slots__ = ("_groups", "epoch", "live", "members")

    def __init__(self) -> None:
        self.epoch = 0
        self.members: dict[str, Listener] = {}
        self.live: dict[str, Recipient] = {}
        self._groups: Sequence[tuple[Framer, Sequence[PushQueue]]] | None = None

    def changed(self) -> None:
        self._groups = None

    def groups(self) -> Sequence[tuple[Framer, Sequence[PushQueue]]]:
        """Return the outboxes by encoding.

        The result is kept until somebody comes or goes, so a publish copies nothing. It is a tuple
        of its own, so a publish that closes a connection does not change what it walks over.
        """
        groups = self._groups
        if groups is None:
            by_encoding: dict[Framer, list[PushQueue]] = {}
            for link in self.live.values():
                by_encoding.setdefault(link.encoding, []).append(link.outbox)
            groups = self._groups = tuple(by_encoding.items())
        return groups


class Topics:
    """The hub of topics. Each node has one.

    Arguments:
        broadcast: puts one frame into many outboxes: by `replace` if there is a slot, else by
            `push_soon`, or to the same effect.
        fanout: the budgets that `charge` draws on; None: nothing is charged.

    Attributes:
        on_end: called with the identity of each session that ends.
        published: how many pushes were published.
        delivered: how many frames were put into outboxes.
    """

    def __init__(self, broadcast: Broadcast | None = None, fanout: Fanout | None = None) -> None:
        self.fanout = fanout
        self.on_end: Callable[[Identity], None] | None = None
        self._broadcast = broadcast or _one_by_one
        self._topics: dict[str, _Topic] = {}
        self._listeners: dict[str, Listener] = {}
        self.published = 0
        self.delivered = 0

    # --- a session and its connection ----------------------------------------------------------

    def attach(self, who: Identity, link: Recipient) -> None:
        """Make `link` the session's connection, in place of any other.

        Pushes to the session pause on all its topics. The new connection's client says how far it
        has read each topic, and the topic's owner subscribes it from there.
        """
        listener = self._listeners.get(who.session)
        if listener is None:
            listener = self._listeners[who.session] = Listener(who)
        self._pause(listener)
        listener.link = link

    def detach(self, session: str, connection: int) -> bool:
        """Take the session's connection away, if it is this one; returns whether it was."""
        listener = self._listeners.get(session)
        if listener is None or listener.link is None or listener.link.id != connection:
            return False
        self._pause(listener)
        listener.link = None
        return True

    def end(self, session: str) -> None:
        """End the session. The owners of its topics count it as a member until they remove it."""
        listener = self._listeners.pop(session, None)
        if listener is not None:
            self._pause(listener)
            listener.link = None
            if self.on_end is not None:
                self.on_end(listener.who)

    def link(self, session: str) -> Recipient | None:
        """Return the session's connection; None: it has none, or there is no such session."""
        listener = self._listeners.get(session)
        return None if listener is None else listener.link

    def is_current(self, session: str, connection: int) -> bool:
        """Whether this connection is the session's now."""
        link = self.link(session)
        return link is not None and link.id == connection

    @property
    def sessions(self) -> Collection[str]:
        """Keys of the sessions that have not ended."""
        return self._listeners.keys()

    # --- a topic and its members, for the topic's owner ------------------------------------------

    def subscribe(self, topic: str, session: str, connection: int, epoch: int = 0) -> bool:
        """Make the session a member whose connection gets the topic's pushes from here on.

        Arguments:
            topic: the topic, `<kind>:<key>` of its owner.
            session: the session's key.
            connection: the connection that the session had when it asked.
            epoch: that of the owner's incarnation.

        Returns False, and does nothing, if the session has ended or has this connection no longer.
        A newer connection's client does not know of this join.
        """
        listener = self._listeners.get(session)
        if listener is None or listener.link is None or listener.link.id != connection:
            return False
        there = self._topics.get(topic)
        if there is None:
            there = self._topics[topic] = _Topic()
        there.epoch = epoch
        there.members[session] = listener
        there.live[session] = listener.link
        there.changed()
        listener.topics[topic] = there
        return True

    def unsubscribe(self, topic: str, session: str) -> bool:
        """End the session's membership; returns whether it was a member."""
        there = self._topics.get(topic)
        listener = there.members.pop(session, None) if there is not None else None
        if there is None or listener is None:
            return False
        listener.topics.pop(topic, None)
        if there.live.pop(session, None) is not None:
            there.changed()
        if not there.members:
            del self._topics[topic]
        return True

    def take_over(self, topic: str, epoch: int) -> int:
        """Note that another incarnation of the owner publishes from here on.

        Returns the epoch of the incarnation that published before. It may be several incarnations
        ago: one on another node, or one that crashed early, has published nothing here.
        """
        there = self._topics.get(topic)
        if there is None:
            return epoch
        before, there.epoch = there.epoch, epoch
        return before

    def is_member(self, topic: str, session: str) -> bool:
        """Whether the session is a member, with or without a connection."""
        there = self._topics.get(topic)
        return there is not None and session in there.members

    def members(self, topic: str) -> list[Listener]:
        """Return all members in the order they came, those without a connection included."""
        there = self._topics.get(topic)
        return [] if there is None else list(there.members.values())

    def dissolve(self, topic: str) -> list[Listener]:
        """Remove all members of the topic, and return them."""
        there = self._topics.pop(topic, None)
        if there is None:
            return []
        for listener in there.members.values():
            listener.topics.pop(topic, None)
        return list(there.members.values())

    def share(self, session: str, shared: Bucket) -> None:
        """Charge the session's pushes to `shared` as well, the budget of its address."""
        listener = self._listeners.get(session)
        if listener is not None:
            listener.shared = shared

    def charge(self, topic: str, session: str, pushes: int = 1) -> None:
        """Charge a session for pushes to everyone on a topic, before they are published.

        Raises:
            Refused: a budget is used up, the session's, its address's or the node's. Then nothing
                was charged.
        """
        there, fanout = self._topics.get(topic), self.fanout
        if there is None or len(there.live) <= FREE or fanout is None:
            return
        listener = self._listeners.get(session)
        if listener is not None:  # a session that has ended is not charged for its last request
            if listener.budget is None:
                listener.budget = fanout.budget()
            fanout.charge(listener.budget, listener.shared, len(there.live) * pushes)

    # --- pushes ----------------------------------------------------------------------------------

    def publish(self, topic: str, push: msgspec.Struct, *, more: bool = False) -> None:
        """Push to every subscribed member.

        A push may wait a few milliseconds for others that go to the same connection.

        Arguments:
            topic: the topic; without members it may be unknown.
            push: the message.
            more: another push to the topic follows in this step, and they should leave together.

        Raises:
            EncodeError: `push` cannot be encoded; nobody got it.
        """
        self._publish(topic, push, _one_by_one if more else self._broadcast)

    def publish_state(self, topic: str, push: msgspec.Struct) -> None:
        """Push a state to every subscribed member, conflated.

        A connection that has not sent the topic's last state yet sends this one in its place.

        Raises:
            EncodeError: `push` cannot be encoded; nobody got it.
        """
        self._publish(topic, push, self._broadcast, slot=topic)

    def publish_states(self, topic: str, push_for: Callable[[str], msgspec.Struct]) -> None:
        """Push to every subscribed member the state `push_for(user)` of its user, conflated.

        Raises:
            EncodeError: one of the states cannot be encoded; some members may have got theirs.
        """
        for outbox, frame in self._each(topic, push_for):
            outbox.replace(topic, frame)

    def publish_each(self, topic: str, push_for: Callable[[str], msgspec.Struct]) -> None:
        """Push to every subscribed member the message `push_for(user)` of its user.

        Raises:
            EncodeError: one of the messages cannot be encoded; some members may have got theirs.
        """
        for outbox, frame in self._each(topic, push_for):
            outbox.push(frame)

    def publish_one(self, topic: str, session: str, push: msgspec.Struct) -> None:
        """Push to one member, if it is subscribed now.

        Another member needs no push: the owner sends it what it missed when it comes back.

        Raises:
            EncodeError: `push` cannot be encoded.
        """
        there = self._topics.get(topic)
        link = None if there is None else there.live.get(session)
        if link is not None:
            link.outbox.push(link.encoding.frame(push))
            self.delivered += 1

    def recover(self, topic: str, session: str, connection: int, *pushes: msgspec.Struct) -> bool:
        """Push to one session what it missed, if its outbox has room for that now.

        If there is no room, nothing is pushed, and the method returns False. The session stays a
        member, but gets no pushes of the topic until the owner subscribes it again. The method
        returns True if `connection` is not the session's any more.

        Raises:
            EncodeError: one of `pushes` cannot be encoded; none was pushed.
        """
        link = self.link(session)
        if link is None or link.id != connection:
            return True
        frames = [link.encoding.frame(push) for push in pushes]
        if not link.outbox.takes(sum(map(len, frames))):
            there = self._topics.get(topic)
            if there is not None and there.live.pop(session, None) is not None:
                there.changed()
            return False
        for frame in frames:
            link.outbox.push(frame)
        self.delivered += len(frames)
        return True

    def room_bytes(self, session: str) -> int:
        """Return for how many bytes of answers the outbox of a session has room now."""
        link = self.link(session)
        return 0 if link is None else max(0, link.outbox.room_bytes)

    def _publish(
        self, topic: str, push: msgspec.Struct, broadcast: Broadcast, slot: str | None = None
    ) -> None:
        there = self._topics.get(topic)
        if there is None:
            return
        # All frames first: what cannot be encoded goes to nobody.
        framed = [(encoding.frame(push), outboxes) for encoding, outboxes in there.groups()]
        self.published += 1
        for frame, outboxes in framed:
            self.delivered += len(outboxes)
            broadcast(frame, outboxes, slot)

    def _each(
        self, topic: str, push_for: Callable[[str], msgspec.Struct]
    ) -> Iterator[tuple[PushQueue, bytes]]:
        """Yield every subscribed member's outbox with the frame for its user."""
        there = self._topics.get(topic)
        if there is None:
            return
        self.published += 1
        for session, link in list(there.live.items()):
            yield link.outbox, link.encoding.frame(push_for(there.members[session].who.user))
            self.delivered += 1

    def _pause(self, listener: Listener) -> None:
        for there in listener.topics.values():
            if there.live.pop(listener.who.session, None) is not None:
                there.changed()


def _one_by_one(frame: bytes, outboxes: Sequence[PushQueue], slot: str | None = None) -> None:
    for outbox in outboxes:
        if slot is None:
            outbox.push_soon(frame)
        else:
            outbox.replace(slot, frame)
