"""What a request does to the tie between two users, as a pure decision.

A tie is seen from the side of the user who acts. The other side has its mirror image, which is
written with it, so the two never disagree.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Bond = Literal["friend", "requested", "asked"]
Act = Literal["request", "accept", "decline", "remove", "block", "unblock"]

MIRROR: Final[dict[Bond, Bond]] = {
    "friend": "friend",
    "requested": "asked",
    "asked": "requested",
}
"""Each state of a tie, as the other side sees it."""


class Pair(NamedTuple):
    """What there is between two users, from the first one's side.

    Attributes:
        tie: their tie; None: there is none.
        blocks: the first has blocked the second.
        blocked: the second has blocked the first.
    """

    tie: Bond | None = None
    blocks: bool = False
    blocked: bool = False

    def turned(self) -> Pair:
        """Return the same from the second one's side."""
        tie = None if self.tie is None else MIRROR[self.tie]
        return Pair(tie, self.blocked, self.blocks)


class TieCounts(NamedTuple):
    """How many ties of each state, and blocks, a user has. Also the most that one may have."""

    friend: int = 0
    requested: int = 0
    asked: int = 0
    blocks: int = 0

    def changed(self, before: Pair, after: Pair) -> TieCounts:
        """Return it after a tie of the user has changed."""
        counts = self._asdict()
        for pair, change in ((before, -1), (after, 1)):
            if pair.tie is not None:
                counts[pair.tie] += change
            counts["blocks"] += change * pair.blocks
        return TieCounts(**counts)


class TieDenied(Exception):  # noqa: N818 - an answer
    """A request is denied. The text says which limit or what state is in the way."""


class IsBlocked(TieDenied):
    """One of the two has blocked the other."""


class NotAsked(TieDenied):
    """There is no request to accept."""


class TooMany(TieDenied):
    """A user has as many friends or requests as one may have."""


class TooManyBlocks(TieDenied):
    """The user has blocked as many users as one may."""


def tie_after(act: Act, pair: Pair, mine: TieCounts, theirs: TieCounts, most: TieCounts) -> Pair:
    """Return what there is between two users after the first has acted.

    Arguments:
        act: what the first does.
        pair: what there is now.
        mine: what the first has now.
        theirs: what the second has.
        most: what a user may have.

    Raises TieDenied: nothing changes.
    """
    match act:
        case "request":
            return _requested(pair, mine, theirs, most)
        case "accept":
            if pair.tie is None or pair.tie == "requested":
                raise NotAsked
            return _friends(pair, mine, theirs, most)
        case "decline":
            return pair._replace(tie=None) if pair.tie == "asked" else pair
        case "remove":
            return pair if pair.tie == "asked" else pair._replace(tie=None)
        case "block":
            if not pair.blocks and mine.blocks >= most.blocks:
                raise TooManyBlocks(f"at most {most.blocks} blocked users")
            return pair._replace(tie=None, blocks=True)
        case "unblock":
            return pair._replace(blocks=False)


def _requested(pair: Pair, mine: TieCounts, theirs: TieCounts, most: TieCounts) -> Pair:
    if pair.blocks:
        raise IsBlocked("you have blocked this user")
    if pair.blocked:
        raise IsBlocked
    if pair.tie == "asked":  # the two requests cross
        return _friends(pair, mine, theirs, most)
    if pair.tie is not None:
        return pair
    if mine.friend >= most.friend:
        raise TooMany(f"at most {most.friend} friends")
    if mine.requested >= most.requested:
        raise TooMany(f"at most {most.requested} requests without an answer")
    if theirs.asked >= most.asked:
        raise TooMany("too many wait for this user's answer")
    return pair._replace(tie="requested")


def _friends(pair: Pair, mine: TieCounts, theirs: TieCounts, most: TieCounts) -> Pair:
    if pair.tie == "friend":
        return pair
    if mine.friend >= most.friend:
        raise TooMany(f"at most {most.friend} friends")
    if theirs.friend >= most.friend:
        raise TooMany("this user has as many friends as is allowed")
    return pair._replace(tie="friend")
