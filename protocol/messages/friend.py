"""Friends: requests, friendships and blocks between users."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from protocol.errors import (
    BAD_CURSOR,
    FORBIDDEN,
    KEY_REUSED,
    NOT_ASKED,
    OUT_OF_RANGE,
    QUOTA_EXCEEDED,
    TOO_MANY_FRIENDS,
)
from protocol.messages.envelope import Key, Request
from protocol.messages.op import Area, Op
from protocol.roles import PLAYER

OtherUser = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,128}\Z")]
"""The id of another user."""
TieState = Literal["friend", "requested", "asked"]
"""How two users stand: they are friends; the user has asked the other; the other has asked."""
Cursor = Annotated[str, Meta(min_length=1, max_length=1024)]


class FriendRequest(Request, frozen=True, kw_only=True, tag="friend.request", gc=False):
    """Ask a user to be a friend. If that user has asked already, they are friends from now on.

    Answered with `FriendTie`, once durable.
    """

    user: OtherUser
    key: Key | None = None


class FriendAccept(Request, frozen=True, kw_only=True, tag="friend.accept", gc=False):
    """Accept the request of a user. Answered with `FriendTie`, once durable."""

    user: OtherUser
    key: Key | None = None


class FriendDecline(Request, frozen=True, kw_only=True, tag="friend.decline", gc=False):
    """Decline the request of a user. It is no error if there is none."""

    user: OtherUser
    key: Key | None = None


class FriendRemove(Request, frozen=True, kw_only=True, tag="friend.remove", gc=False):
    """End a friendship, or take a request back. It is no error if there is neither."""

    user: OtherUser
    key: Key | None = None


class FriendList(Request, frozen=True, kw_only=True, tag="friend.list", gc=False):
    """List the user's friends and requests, by the id of the other. Answered with `FriendsListed`.

    `state`: only those; null: all.
    """

    state: TieState | None = None
    limit: Annotated[int, Meta(ge=1)] = 50
    cursor: Cursor | None = None


class FriendMutual(Request, frozen=True, kw_only=True, tag="friend.mutual", gc=False):
    """Ask for friends shared with another user. Answered with `MutualFriendsFound`."""

    user: OtherUser
    limit: Annotated[int, Meta(ge=1)] = 50


class FriendSuggest(Request, frozen=True, kw_only=True, tag="friend.suggest", gc=False):
    """Ask whom the user might know. Answered with `FriendsSuggested`."""

    limit: Annotated[int, Meta(ge=1)] = 20


class FriendPlayed(Request, frozen=True, kw_only=True, tag="friend.played", gc=False):
    """Ask with whom the user has played lately. Answered with `FellowsFound`."""

    limit: Annotated[int, Meta(ge=1)] = 20


class BlockAdd(Request, frozen=True, kw_only=True, tag="block.add", gc=False):
    """Block a user, which ends a friendship and requests between the two."""

    user: OtherUser
    key: Key | None = None


class BlockRemove(Request, frozen=True, kw_only=True, tag="block.remove", gc=False):
    """Block a user no longer. It is no error if the user is not blocked."""

    user: OtherUser
    key: Key | None = None


class BlockList(Request, frozen=True, kw_only=True, tag="block.list", gc=False):
    """List the users that the user has blocked, by their id. Answered with `BlocksListed`."""

    limit: Annotated[int, Meta(ge=1)] = 50
    cursor: Cursor | None = None


class FriendTie(msgspec.Struct, frozen=True, gc=False):
    """How the user stands to another one, since when, in milliseconds since 1970, UTC."""

    user: str
    state: TieState
    since: int


class Friend(msgspec.Struct, frozen=True, gc=False):
    """A friend, or a request. `online`: a friend has a connection now; never true of a request."""

    user: str
    state: TieState
    since: int
    online: bool


class FriendsListed(msgspec.Struct, frozen=True, gc=False):
    """A page of friends and requests. `cursor` is for the next page; null: this is the last one."""

    friends: list[Friend]
    cursor: str | None = None


class MutualFriendsFound(msgspec.Struct, frozen=True, gc=False):
    """The first of `total` shared friends, by id."""

    friends: list[str]
    total: int


class Suggestion(msgspec.Struct, frozen=True, gc=False):
    """A user whom the user might know.

    `mutual`: how many friends they share. `played`: when they last came together in a match, in
    milliseconds since 1970, UTC; null: not lately.
    """

    user: str
    mutual: int
    played: int | None = None


class FriendsSuggested(msgspec.Struct, frozen=True, gc=False):
    """Who shares more friends comes first, then who was played with later."""

    users: list[Suggestion]


class PlayedTogether(msgspec.Struct, frozen=True, gc=False):
    """A user, and when the two came together in a match, in milliseconds since 1970, UTC."""

    user: str
    at: int


class FellowsFound(msgspec.Struct, frozen=True, gc=False):
    """With whom the user has played, the latest first."""

    users: list[PlayedTogether]


class Blocked(msgspec.Struct, frozen=True, gc=False):
    """A blocked user, since when, in milliseconds since 1970, UTC."""

    user: str
    since: int


class BlocksListed(msgspec.Struct, frozen=True, gc=False):
    """A page of blocked users. `cursor` is for the next page; null: this is the last one."""

    blocked: list[Blocked]
    cursor: str | None = None


AREA: Final = Area(
    ops=(
        Op(
            request=FriendRequest,
            role=PLAYER,
            answer=FriendTie,
            errors=(FORBIDDEN, TOO_MANY_FRIENDS, KEY_REUSED),
            repeat="by key",
            sheddable=True,
            cost=8,
        ),
        Op(
            request=FriendAccept,
            role=PLAYER,
            answer=FriendTie,
            errors=(NOT_ASKED, TOO_MANY_FRIENDS, KEY_REUSED),
            repeat="by key",
            sheddable=True,
            cost=8,
        ),
        Op(
            request=FriendDecline,
            role=PLAYER,
            errors=(KEY_REUSED,),
            repeat="by key",
            sheddable=True,
            cost=8,
        ),
        Op(
            request=FriendRemove,
            role=PLAYER,
            errors=(KEY_REUSED,),
            repeat="by key",
            sheddable=True,
            cost=8,
        ),
        Op(
            request=FriendList,
            role=PLAYER,
            answer=FriendsListed,
            errors=(OUT_OF_RANGE, BAD_CURSOR),
            repeat="harmless",
            sheddable=True,
            cost=5,
        ),
        Op(
            request=FriendMutual,
            role=PLAYER,
            answer=MutualFriendsFound,
            errors=(OUT_OF_RANGE,),
            repeat="harmless",
            sheddable=True,
            cost=10,
        ),
        Op(
            request=FriendSuggest,
            role=PLAYER,
            answer=FriendsSuggested,
            errors=(OUT_OF_RANGE,),
            repeat="harmless",
            sheddable=True,
            cost=20,
        ),
        Op(
            request=FriendPlayed,
            role=PLAYER,
            answer=FellowsFound,
            errors=(OUT_OF_RANGE,),
            repeat="harmless",
            sheddable=True,
            cost=10,
        ),
        Op(
            request=BlockAdd,
            role=PLAYER,
            errors=(QUOTA_EXCEEDED, KEY_REUSED),
            repeat="by key",
            sheddable=True,
            cost=8,
        ),
        Op(
            request=BlockRemove,
            role=PLAYER,
            errors=(KEY_REUSED,),
            repeat="by key",
            sheddable=True,
            cost=8,
        ),
        Op(
            request=BlockList,
            role=PLAYER,
            answer=BlocksListed,
            errors=(OUT_OF_RANGE, BAD_CURSOR),
            repeat="harmless",
            sheddable=True,
            cost=2,
        ),
    )
)
