"""Requests of sessions that the owner of a topic does not know yet, since it has just moved here.

The members of a topic follow its owner to another node: the hub of each node names those that it
has (`Adopt`). What they ask the owner for meanwhile may come before that. It is put aside until
the session is named, joins or resumes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any, Final, Protocol

import msgspec

from actors.edge.failures import Refused
from actors.edge.hub_messages import Adopt
from actors.edge.topic_messages import Join, Leave, Part, Resume, TopicMessage
from actors.edge.topics import Topics
from actors.runtime.system_view import SystemView
from protocol.errors import BUSY

WAIT_S: Final = 4.0
"""How long after its start an owner waits for members to be named. It is less than the hubs have
for that (`ADOPT_WITHIN_S`), and less than the 5 s after which a request's client is told
`timeout`."""
MOST: Final = 1_000
"""The most requests that one owner puts aside."""
MOST_BYTES: Final = 1_048_576
"""The most bytes of them, as msgpack, unless it is a single one."""
AGAIN_S: Final = 0.5
"""When one that had no room there may be made again."""


class NobodyElse(msgspec.Struct, frozen=True, gc=False):
    """Timer of an owner: who has not been named by now is no member."""


class StrangersOwner(Protocol):
    """What `Strangers` needs of the actor that owns the topic."""

    @property
    def system(self) -> SystemView:
        """See `Actor.system`."""

    def stash(self) -> Any:
        """See `Actor.stash`."""

    def unstash(self, wanted: Callable[[Any], bool] | None = None) -> None:
        """See `Actor.unstash`."""

    def start_timer(self, delay_s: float, message: Any, *, name: str | None = None) -> object:
        """See `Actor.start_timer`."""


class Strangers:
    """The requests that one owner has put aside, by session.

    On one node, and once an owner has been here for `WAIT_S`, nothing is put aside: a session that
    the owner does not know is no member. Nor is a session that has been a member here and has left.

    Arguments:
        owner: the actor that owns the topic.
        topics: the hub of its node.
    """

    __slots__ = ("_known", "_leaving", "_owner", "_sizes", "_topics", "_until_s")

    def __init__(self, owner: StrangersOwner, topics: Topics) -> None:
        self._owner = owner
        self._topics = topics
        self._until_s = -math.inf
        self._sizes: dict[str, list[int]] = {}  # of each request, by session
        self._leaving: set[str] = set()  # those among them that have asked to leave
        self._known: set[str] = set()  # the sessions that came or were named here

    def expect(self) -> None:
        """Begin to wait for members to be named. To be called when the owner starts."""
        if self._topics.hubs is not None:
            self._until_s = self._owner.system.now() + WAIT_S

    def wait(self, message: TopicMessage) -> None:
        """Put a request aside, whose session is not a member by what the owner knows.

        It does not return then. It returns if there is nothing to wait for.

        Raises:
            Refused: BUSY: too much is put aside.
        """
        left_s, session = self._until_s - self._owner.system.now(), message.who.session
        if left_s <= 0 or session in self._known:
            return
        size = len(_encode(message))
        sizes = [one for some in self._sizes.values() for one in some]
        if len(sizes) >= MOST or (sizes and sum(sizes) + size > MOST_BYTES):
            why = "it has just moved, and too many requests wait for its members"
            raise Refused(BUSY, why, retry_in_s=min(left_s, AGAIN_S))
        if not sizes:
            self._owner.start_timer(left_s, NobodyElse(), name="strangers")
        self._sizes.setdefault(session, []).append(size)
        if isinstance(message, Leave | Part):
            self._leaving.add(session)
        self._owner.stash()

    def keep_order(self, message: Join | Resume) -> None:
        """Put a request to come in aside as well, if the session's request to go is put aside."""
        if message.who.session in self._leaving:
            self.wait(message)

    def known(self, sessions: Collection[str]) -> None:
        """Have what these sessions have asked for handled next: the owner knows them now."""
        if self._owner.system.now() < self._until_s:
            self._known.update(sessions)
        else:
            self._known.clear()
        if not self._sizes or self._sizes.keys().isdisjoint(sessions):
            return
        for session in sessions:
            self._sizes.pop(session, None)
            self._leaving.discard(session)
        self._owner.unstash(
            lambda message: isinstance(message, TopicMessage) and message.who.session in sessions
        )

    def unknown(self, adopt: Adopt) -> Adopt:
        """Return the members that a hub names, without those who came here, or went."""
        if self._known.isdisjoint(one.who.session for one in adopt.members):
            return adopt
        new = [one for one in adopt.members if one.who.session not in self._known]
        return Adopt(new, adopt.epoch)

    def nobody_else(self) -> None:
        """Have the rest handled, whose sessions are no members."""
        self._sizes.clear()
        self._leaving.clear()
        self._owner.unstash()


_encode: Final = msgspec.msgpack.Encoder(enc_hook=repr).encode
