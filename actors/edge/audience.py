"""The members of one topic, and the outboxes that its pushes go to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from actors.edge.blocks import Blocking
from actors.edge.hub_messages import Adopt, Adopted
from actors.edge.identity import Identity
from actors.edge.remote_members import RemoteMember, RemoteMembers
from actors.edge.rules.bucket import Bucket
from protocol.errors import CloseCode


class Framer(Protocol):
    """One of the wire's encodings. It is hashable, since members are grouped by it."""

    def frame(self, message: msgspec.Struct) -> bytes:
        """Encode and frame; raises `EncodeError`."""

    def reframe(self, payload: bytes) -> bytes:
        """Frame a message that another node has encoded in msgpack; raises `EncodeError`."""


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

    def close(self, code: CloseCode) -> None: ...


class Broadcast(Protocol):
    """Puts one frame into many outboxes; the flusher's does it at the least cost."""

    def __call__(self, frame: bytes, outboxes: Sequence[Any], slot: str | None = None) -> None: ...


OutboxGroups = Sequence[tuple[Framer, Sequence[PushQueue]]]
"""Outboxes by encoding."""


class Listener:
    """A session as the hub knows it: its identity, and its present connection."""

    __slots__ = ("blocking", "budget", "link", "resumes", "shared", "topics", "who")

    def __init__(self, who: Identity, blocking: Blocking) -> None:
        self.who = who
        self.blocking = blocking
        self.link: Recipient | None = None
        self.budget: Bucket | None = None
        """The session's budget of pushes to others; None: it has not been charged yet."""
        self.shared: Bucket | None = None
        """The budget of all sessions of its address; None: the address has no limits."""
        self.topics: dict[str, Audience] = {}
        self.resumes: dict[str, int] = {}
        """By topic, the attempt of a resume whose owner has pushed nothing here yet."""

    def has(self, connection: int) -> bool:
        """Whether this connection is the session's now."""
        return self.link is not None and self.link.id == connection

    def pushes_for(self, topic: str, attempt: int) -> bool:
        """Note that the owner pushes for an attempt; returns whether it is the one that is awaited.

        An attempt 0 is of a node of an older version, which does not say which one it answers.
        """
        if attempt and self.resumes.get(topic) != attempt:
            return False
        self.resumes.pop(topic, None)
        return True


class Apart(NamedTuple):
    """The outboxes of an audience that get a push as it is, and those that may not.

    `changes`: how often blocks had changed when the two were told apart.
    """

    changes: int
    shown: OutboxGroups
    hidden: OutboxGroups


APARTS: Final = 64
"""For so many blocked users an audience keeps who has blocked them."""


class Audience:
    """A topic's members in the order they came, and those with a connection here in `live`.

    Attributes:
        topic: the topic.
        epoch: that of the owner's incarnation which publishes on it.
        members: all of them by session, those on other nodes included.
        live: the connections of this node that get the topic's pushes.
        elsewhere: the members on other nodes; None: there are none.
    """

    __slots__ = ("_aparts", "_groups", "elsewhere", "epoch", "live", "members", "topic")

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.epoch = 0
        self.members: dict[str, Listener | RemoteMember] = {}
        self.live: dict[str, Recipient] = {}
        self.elsewhere: RemoteMembers | None = None
        self._groups: OutboxGroups | None = None
        self._aparts: dict[str, Apart] | None = None

    @property
    def reached(self) -> int:
        """How many connections a push goes to, as far as this node knows."""
        return len(self.live) + (0 if self.elsewhere is None else self.elsewhere.live)

    def add(self, listener: Listener) -> None:
        """Make a session of this node a member; its connection, if it has one, gets the pushes."""
        session, topic = listener.who.session, self.topic
        before = listener.topics.get(topic)
        if before is not None and before is not self:
            before.remove(session)  # its owner was on another node
        listener.topics[topic] = self
        self.members[session] = listener
        if listener.link is not None:
            self.live[session] = listener.link
            self._groups = self._aparts = None

    def remove(self, session: str) -> bool:
        """End a membership; returns whether it was one."""
        member = self.members.pop(session, None)
        if member is None:
            return False
        if isinstance(member, RemoteMember):
            assert self.elsewhere is not None
            if not self.elsewhere.remove(member):
                self.elsewhere = None
            return True
        if member.topics.get(self.topic) is self:
            del member.topics[self.topic]
        if self.live.pop(session, None) is not None:
            self._groups = self._aparts = None
        return True

    def pause(self, session: str) -> bool:
        """Let a member of this node get no pushes; returns whether it got them until now."""
        if self.live.pop(session, None) is None:
            return False
        self._groups = self._aparts = None
        return True

    def release(self) -> list[Listener]:
        """Remove all members, and return those of this node."""
        here = [one for one in self.members.values() if isinstance(one, Listener)]
        for listener in here:
            if listener.topics.get(self.topic) is self:
                del listener.topics[self.topic]
        self.members.clear()
        self.live.clear()
        self.elsewhere = self._groups = self._aparts = None
        return here

    def hand_over(self) -> Adopt | None:
        """Remove all members, and name those of this node to the owner, which lives elsewhere now.

        One that gets no pushes is named without a connection: its client has yet to say how far it
        has read. Returns None if there are none.
        """
        members = [
            Adopted(member.who, self.live[session].id if session in self.live else 0)
            for session, member in self.members.items()
            if isinstance(member, Listener)
        ]
        self.release()
        return Adopt(members, self.epoch) if members else None

    def apart(self, author: str, blockers: Collection[str], changes: int) -> Apart:
        """Return the outboxes of those who have blocked an author apart from all others.

        It is kept until somebody comes or goes, or blocks change, so a push of a blocked user costs
        no more than any other.

        Arguments:
            author: the author; "": the push has several, and nothing is kept.
            blockers: the users who have blocked the author.
            changes: how often blocks have changed.
        """
        known = None if self._aparts is None else self._aparts.get(author)
        if known is not None and known.changes == changes:
            return known
        shown: dict[Framer, list[PushQueue]] = {}
        hidden: dict[Framer, list[PushQueue]] = {}
        for session, link in self.live.items():
            groups = hidden if self.members[session].who.user in blockers else shown
            groups.setdefault(link.encoding, []).append(link.outbox)
        apart = Apart(changes, tuple(shown.items()), tuple(hidden.items()))
        if author:
            if self._aparts is None or len(self._aparts) >= APARTS:
                self._aparts = {}
            self._aparts[author] = apart
        return apart

    def groups(self) -> OutboxGroups:
        """Return the outboxes of this node by encoding.

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
