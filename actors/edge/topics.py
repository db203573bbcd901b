"""The node's hub of topics: who is on which topic, and the way a push takes to all of them.

The fastlane (Phoenix's word): a push is encoded and framed once for each encoding, and the same
bytes are appended to each member's outbox, past the session actors. The hub is no actor. It
outlives the rooms and matches that own its topics, so a room that crashes finds its members still
joined; and its methods never wait, so an owner changes membership and publishes in one step, and
order on a topic is the order of these calls.

Membership belongs to the owner of the topic: only the room adds and removes. The connection
belongs to the session: a session that has none, or has lost it to a newer one, stays a member and
is skipped until the owner subscribes it again with what it missed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from actors.edge.fanout import FREE, Fanout
from actors.edge.identity import Identity
from actors.edge.rules.bucket import Bucket


class Encoding(Protocol):
    """One of the wire's encodings; hashable, as it is what frames are grouped by."""

    def frame(self, message: msgspec.Struct) -> bytes:
        """Encode and frame; raises `EncodeError`."""


class Outbox(Protocol):
    """A connection's queue of frames, bounded in bytes. No method raises."""

    def push(self, frame: bytes) -> None: ...

    def push_soon(self, frame: bytes) -> None: ...

    def replace(self, slot: str, frame: bytes) -> None: ...


class Link(Protocol):
    """What the hub needs of a connection."""

    @property
    def id(self) -> int: ...

    @property
    def encoding(self) -> Encoding: ...

    @property
    def outbox(self) -> Outbox: ...


class Broadcast(Protocol):
    """The flusher's, which knows how to send one frame to many."""

    def __call__(self, frame: bytes, outboxes: Sequence[Any], slot: str | None = None) -> None: ...


class Listener:
    """A session as the hub knows it: who it is, and the connection that is its own now."""

    __slots__ = ("budget", "link", "shared", "topics", "who")

    def __init__(self, who: Identity) -> None:
        self.who = who
        self.link: Link | None = None
        self.budget: Bucket | None = None
        """Its budget of pushes to others; None: it has not been charged yet."""
        self.shared: Bucket | None = None
        """The same of all sessions of its address, if that has limits."""
        self.topics: dict[str, _Topic] = {}


class _Topic:
    """Members in the order they came, and the part of them that is subscribed now. `epoch`: of the
    owner's incarnation whose pushes they get.
    """

    __slots__ = ("_groups", "epoch", "live", "members")

    def __init__(self) -> None:
        self.epoch = 0
        self.members: dict[str, Listener] = {}
        self.live: dict[str, Link] = {}
        self._groups: Sequence[tuple[Encoding, Sequence[Outbox]]] | None = None

    def changed(self) -> None:
        self._groups = None

    def groups(self) -> Sequence[tuple[Encoding, Sequence[Outbox]]]:
        """The outboxes by encoding. Kept until someone comes or goes, so that a publish neither
        copies nor risks that a close it causes changes what it walks over.
        """
        groups = self._groups
        if groups is None:
            by_encoding: dict[Encoding, list[Outbox]] = {}
            for link in self.live.values():
                by_encoding.setdefault(link.encoding, []).append(link.outbox)
            groups = self._groups = tuple(by_encoding.items())
        return groups


class Topics:
    """The hub. One for each node.

    Arguments:
        broadcast: pushes one frame to many of the connections' outboxes, with a slot by `replace`
            and else by `push_soon`, or to the same effect.
        fanout: the budgets that `charge` draws on; without, nothing is charged.

    Attributes:
        on_end: called with the key of each session that ends.

    Counters for the metrics: `published` pushes, `delivered` frames.
    """

    def __init__(self, broadcast: Broadcast | None = None, fanout: Fanout | None = None) -> None:
        self.fanout = fanout
        self.on_end: Callable[[str], None] | None = None
        self._broadcast = broadcast or _one_by_one
        self._topics: dict[str, _Topic] = {}
        self._listeners: dict[str, Listener] = {}
        self.published = 0
        self.delivered = 0

    # --- a session and its connection ----------------------------------------------------------

    def attach(self, who: Identity, link: Link) -> None:
        """Make `link` the session's connection, in place of any other.

        What it was subscribed to under an older one pauses: the new client says where it stands on
        each topic, and the topic's owner subscribes it from there.
        """
        listener = self._listeners.get(who.session)
        if listener is None:
            listener = self._listeners[who.session] = Listener(who)
        self._pause(listener)
        listener.link = link

    def detach(self, session: str, connection: int) -> bool:
        """Take the connection away, if it still is the session's; returns whether it was."""
        listener = self._listeners.get(session)
        if listener is None or listener.link is None or listener.link.id != connection:
            return False
        self._pause(listener)
        listener.link = None
        return True

    def end(self, session: str) -> None:
        """The session is over. Its topics' owners still count it until they unsubscribe it."""
        listener = self._listeners.pop(session, None)
        if listener is not None:
            self._pause(listener)
            listener.link = None
            if self.on_end is not None:
                self.on_end(session)

    def link(self, session: str) -> Link | None:
        """The session's connection now; None: it has none, or there is no such session."""
        listener = self._listeners.get(session)
        return None if listener is None else listener.link

    def is_current(self, session: str, connection: int) -> bool:
        """Whether this connection is the session's now."""
        link = self.link(session)
        return link is not None and link.id == connection

    @property
    def sessions(self) -> Collection[str]:
        """Keys of the sessions that are not over."""
        return self._listeners.keys()

    # --- a topic and its members, for the topic's owner ------------------------------------------

    def subscribe(self, topic: str, session: str, connection: int, epoch: int = 0) -> bool:
        """Make the session a member whose connection gets the topic's pushes from here on.

        `epoch`: the owner's. Returns False, and does nothing, if `connection` is not the session's
        now: the session is over, or has lost the connection, or has taken another that does not
        know of this join.
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
        """The pushes come from another incarnation of the owner from here on; returns which one
        those who are subscribed have got theirs from. It may be several back: of an incarnation on
        another node, or of one that broke before it said a word, they were told nothing.
        """
        there = self._topics.get(topic)
        if there is None:
            return epoch
        before, there.epoch = there.epoch, epoch
        return before

    def is_member(self, topic: str, session: str) -> bool:
        """Whether the session is a member, with a connection now or without."""
        there = self._topics.get(topic)
        return there is not None and session in there.members

    def members(self, topic: str) -> list[Listener]:
        """Every member in the order they came, also those without a connection now."""
        there = self._topics.get(topic)
        return [] if there is None else list(there.members.values())

    def dissolve(self, topic: str) -> list[Listener]:
        """End the topic: nobody is a member any more. Returns who was."""
        there = self._topics.pop(topic, None)
        if there is None:
            return []
        for listener in there.members.values():
            listener.topics.pop(topic, None)
        return list(there.members.values())

    def share(self, session: str, shared: Bucket) -> None:
        """Have a session draw on a budget of pushes that others draw on as well."""
        listener = self._listeners.get(session)
        if listener is not None:
            listener.shared = shared

    def charge(self, topic: str, session: str, pushes: int = 1) -> None:
        """Have a session pay for pushes to everyone on a topic, before they are made.

        Raises:
            Refused: by its budget, or the node's; then nothing was charged.
        """
        there, fanout = self._topics.get(topic), self.fanout
        if there is None or len(there.live) <= FREE or fanout is None:
            return
        listener = self._listeners.get(session)
        if listener is not None:  # else it is over, and what it asked for is let through
            if listener.budget is None:
                listener.budget = fanout.budget()
            fanout.charge(listener.budget, listener.shared, len(there.live) * pushes)

    # --- pushes ----------------------------------------------------------------------------------

    def publish(self, topic: str, push: msgspec.Struct, *, more: bool = False) -> None:
        """Push to every subscribed member, soon: to one that gets much, some of it together.

        `more`: another push to the topic follows in this step, and they had better leave together.

        Raises:
            EncodeError: `push` cannot be encoded; nobody got it.
        """
        self._publish(topic, push, _one_by_one if more else self._broadcast)

    def publish_state(self, topic: str, push: msgspec.Struct) -> None:
        """The same, conflated: of the states of a topic that a connection has not sent yet, the
        newest takes the place of the others.

        Raises:
            EncodeError: `push` cannot be encoded; nobody got it.
        """
        self._publish(topic, push, self._broadcast, slot=topic)

    def publish_states(self, topic: str, push_for: Callable[[str], msgspec.Struct]) -> None:
        """The same where each user sees another state: `push_for(user)` is encoded for each member.

        Raises:
            EncodeError: as `publish_state`; some members may have got theirs.
        """
        for outbox, frame in self._each(topic, push_for):
            outbox.replace(topic, frame)

    def publish_each(self, topic: str, push_for: Callable[[str], msgspec.Struct]) -> None:
        """Push to every subscribed member what its user is to see; none of it is conflated.

        Raises:
            EncodeError: as `publish`; some members may have got theirs.
        """
        for outbox, frame in self._each(topic, push_for):
            outbox.push(frame)

    def publish_one(self, topic: str, session: str, push: msgspec.Struct) -> None:
        """Push to one member, if it is subscribed now. One that is not has no connection, or has
        one whose client says where it stands next, and is answered by that.

        Raises:
            EncodeError: `push` cannot be encoded.
        """
        there = self._topics.get(topic)
        link = None if there is None else there.live.get(session)
        if link is not None:
            link.outbox.push(link.encoding.frame(push))
            self.delivered += 1

    def send(self, session: str, connection: int, push: msgspec.Struct) -> bool:
        """Push to one session, if `connection` still is its own; returns whether it was.

        Raises:
            EncodeError: `push` cannot be encoded.
        """
        listener = self._listeners.get(session)
        if listener is None or listener.link is None or listener.link.id != connection:
            return False
        listener.link.outbox.push(listener.link.encoding.frame(push))
        self.delivered += 1
        return True

    def _publish(
        self, topic: str, push: msgspec.Struct, broadcast: Broadcast, slot: str | None = None
    ) -> None:
        there = self._topics.get(topic)
        if there is None:
            return
        groups = there.groups()
        frames = [encoding.frame(push) for encoding, _ in groups]
        self.published += 1
        for (_, outboxes), frame in zip(groups, frames, strict=True):
            self.delivered += len(outboxes)
            broadcast(frame, outboxes, slot)

    def _each(
        self, topic: str, push_for: Callable[[str], msgspec.Struct]
    ) -> Iterator[tuple[Outbox, bytes]]:
        """Every subscribed member's outbox, and the frame that is for its user."""
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


def _one_by_one(frame: bytes, outboxes: Sequence[Outbox], slot: str | None = None) -> None:
    for outbox in outboxes:
        if slot is None:
            outbox.push_soon(frame)
        else:
            outbox.replace(slot, frame)
