"""The messages between the hubs of nodes.

The owner of a topic works with the hub of its own node. That hub tells the hubs of other nodes what
to do for the topic's members there, in the order in which the owner did it: these are the messages
of class `FromOwner`. The hub of a member answers only what the owner cannot know (`Gone`).

A push travels as msgpack (`protocol.codec.MSGPACK`). It crosses once for each node that has members
who are to get it, and is framed there once for each encoding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from actors.edge.identity import Identity


class FromOwner(msgspec.Struct, frozen=True, gc=False):
    """Of the node that a topic's owner is on, to a node with members of the topic."""

    owner: str
    """The id of the owner's node."""
    topic: str


class Subscribe(FromOwner, frozen=True, gc=False):
    """The session is a member, and this connection of it gets the pushes that follow.

    `number`: the owner's hub gives each subscription another one. `epoch`: that of the owner's
    incarnation.
    """

    session: str
    connection: int
    number: int
    epoch: int


class Unsubscribe(FromOwner, frozen=True, gc=False):
    """The session is no member any more."""

    session: str


class Publish(FromOwner, frozen=True, gc=False, omit_defaults=True):
    """Push to all members of the topic. `more`, `author` and `about`: see `Topics.publish`."""

    push: bytes
    more: bool = False
    author: str = ""
    about: Sequence[str] = ()


class PublishState(FromOwner, frozen=True, gc=False):
    """Push a state to all members of the topic, conflated on each connection."""

    push: bytes


class PublishEach(FromOwner, frozen=True, gc=False):
    """Push to each member the message of its user. `state`: it is a state, conflated."""

    pushes: Mapping[str, bytes]
    state: bool = False


class PublishTo(FromOwner, frozen=True, gc=False):
    """Push to these members, as far as they are subscribed."""

    sessions: Sequence[str]
    push: bytes


class Recover(FromOwner, frozen=True, gc=False):
    """Push to one session what it missed since (`epoch`, `offset`), if there is room for all of it.

    If there is not, the session is told to resume from there once there is room (`PutOff`).

    `attempt`: that of the resume; 0 from a node of an older version, which does not give it back.
    """

    session: str
    connection: int
    epoch: int
    offset: int
    pushes: Sequence[bytes]
    attempt: int = 0


class NewIncarnation(FromOwner, frozen=True, gc=False):
    """An incarnation of the owner with this epoch publishes from here on."""

    epoch: int


class Dissolve(FromOwner, frozen=True, gc=False):
    """Nobody is a member any more; the sessions are to be told."""


class Dismissed(FromOwner, frozen=True, gc=False):
    """The owner has ended this session's membership; the session is to be told.

    It is told by its hub, so that it hears of it behind the owner's answers, which wait for that.
    """

    session: str


class HandOver(FromOwner, frozen=True, gc=False):
    """The owner lives on another node from here on: name it the members here (`Adopt`)."""


class Lapsed(msgspec.Struct, frozen=True, gc=False):
    """Some messages of this node could not be sent, of whatever topic: its members missed pushes.

    All members of its topics have to resume.
    """

    owner: str


class Gone(msgspec.Struct, frozen=True, gc=False):
    """Of a member's node to the owner's: that subscription gets no pushes any more.

    Its connection has ended, or is not the session's any more, or has no room for what was missed.
    """

    topic: str
    session: str
    number: int


class Adopted(msgspec.Struct, frozen=True, gc=False):
    """A member that the owner is to take over. `connection`: 0 if it has none."""

    who: Identity
    connection: int


class Adopt(msgspec.Struct, frozen=True, gc=False):
    """Of a hub to the owner of a topic, which lives on another node than before: members of yours.

    They have been pushed everything that the incarnation before has published, whose epoch this is.
    The owner makes them members, pushes to them what they lack, and answers None; those that are
    members by now it leaves as they are. If it refuses, or does not answer, the hub closes their
    connections, and their clients resume.
    """

    members: Sequence[Adopted]
    epoch: int


class NameMembers(msgspec.Struct, frozen=True, gc=False):
    """To this node's own hub: name these members to the owner of the topic, wherever it is."""

    topic: str
    adopt: Adopt


class AskOnline(msgspec.Struct, frozen=True, gc=False):
    """Asks a node which of these users have a connection there. Answered with `OnlineThere`."""

    users: Sequence[str]


class OnlineThere(msgspec.Struct, frozen=True, gc=False):
    """Those of the users who have a connection on the node."""

    users: Sequence[str]


class InTurn(msgspec.Struct, frozen=True, gc=False):
    """To this node's own hub: call this, now that all that came before is done."""

    call: Callable[[], object]


TO_HUBS: Final[Sequence[type[msgspec.Struct]]] = (
    Subscribe, Unsubscribe, Publish, PublishState, PublishEach, PublishTo, Recover, NewIncarnation,
    Dissolve, Dismissed, HandOver, Lapsed, Gone, AskOnline,
)  # fmt: skip
