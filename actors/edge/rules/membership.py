"""What a session knows of its membership in one topic. A pure value.

The topic's owner decides who is a member. It handles a session's requests in the order they were
made, but the answers come in any order, or never. So the session numbers its requests, and believes
the answer with the highest number.

A membership is kept until the owner has said that the session is out, because until then the
session may be in. So a leave that was refused can be repeated.

A session *owes* a leave when it has to be out and its client will not ask again: the client was
told that a join failed, say, and the owner may have let the session in all the same. The session
then repeats the leave by itself until the owner has answered.
"""

from __future__ import annotations

import enum
from typing import Literal

import msgspec
from msgspec.structs import replace

Stage = Literal["joining", "joined", "leaving", "out"]


class AnswerMeaning(enum.Enum):
    """What the answer to a request means."""

    DONE = "done"
    """The owner did what was asked."""
    DENIED = "denied"
    """The owner says that the session is not in the topic."""
    UNDONE = "undone"
    """The request changed nothing: it did not reach the owner, or the owner was too busy."""
    UNKNOWN = "unknown"
    """The owner may have done what was asked, or may do it later."""


class Membership(msgspec.Struct, frozen=True, gc=False):
    """What is known, what is under way, and whether the session owes a leave.

    `asks_in` and `asks_out` return the membership with one more request, whose number is `last`.
    `answered_in` and `answered_out` take the answer to the request with that number. A request is
    to be in (a join, a resume) or to be out (a leave, a part).
    """

    member: bool = False
    """Whether the session is a member, by the owner's latest answer."""
    last: int = 0
    """The number of the newest request."""
    entered: int = 0
    """The number of the newest request to be in."""
    decided: int = 0
    """The number of the request whose answer is `member`."""
    doubted_in: int = 0
    """The number of the newest request to be in whose answer is UNKNOWN. The answer to a later
    request ends the doubt, because the owner has handled this one by then.
    """
    doubted_out: int = 0
    """The same for requests to be out."""
    waiting: int = 0
    """How many requests are not answered yet."""
    owes: bool = False
    """The session owes a leave."""
    keeps_place: bool = True
    """Whether that leave keeps the user's place in a match for a while."""
    owes_since: int = 0
    """The number of the newest request when the session began to owe the leave."""
    hopes: int = 0
    """How many requests to be in were made since and are not answered yet. The leave is owed no
    more when one of them is done, and still owed when they all fail.
    """
    tries: int = 0
    """How often the leave has failed."""

    # --- what is asked ---------------------------------------------------------------------------

    def asks_in(self) -> Membership:
        """The session asks to be in. A leave that it owes waits for the answer."""
        number, hopes = self.last + 1, self.hopes + self.owes
        return replace(self, last=number, entered=number, waiting=self.waiting + 1, hopes=hopes)

    def asks_out(self) -> Membership:
        """The session asks to be out, for its client or because it owes a leave."""
        return replace(self, last=self.last + 1, waiting=self.waiting + 1)

    def gives_up(self, *, keep_place: bool) -> Membership:
        """The session owes a leave: its client was told that it is out, or knows of no membership.

        `keep_place`: whether the user's place in a match is kept for a while. False, which says
        that the user asked to leave, stays False for as long as the leave is owed.
        """
        keeps_place = keep_place and (self.keeps_place or not self.owes)
        return _settled(_owing(self, keep_place=keeps_place))

    # --- what is answered ------------------------------------------------------------------------

    def answered_in(self, number: int, answer: AnswerMeaning) -> Membership:
        """Take the answer to a request to be in. Only DENIED takes a membership away."""
        now = replace(self, waiting=self.waiting - 1)
        if self.owes and number > self.owes_since:
            done = answer in (AnswerMeaning.DONE, AnswerMeaning.DENIED)
            now = replace(now, hopes=self.hopes - 1, owes=not done)
        if answer is AnswerMeaning.UNKNOWN:
            now = replace(now, doubted_in=max(self.doubted_in, number))
        elif answer is not AnswerMeaning.UNDONE and number > self.decided:
            now = replace(now, member=answer is AnswerMeaning.DONE, decided=number)
        return _settled(now)

    def answered_out(self, number: int, answer: AnswerMeaning) -> Membership:
        """Take the answer to a request to be out."""
        now = replace(self, waiting=self.waiting - 1)
        undone, done = (
            answer is AnswerMeaning.UNDONE,
            answer in (AnswerMeaning.DONE, AnswerMeaning.DENIED),
        )
        if answer is AnswerMeaning.UNKNOWN:
            now = replace(now, doubted_out=max(self.doubted_out, number))
        elif done and number > self.decided:
            now = replace(now, member=False, decided=number)
        if number < self.entered:
            pass  # the session has asked to be in since
        elif done:
            now = replace(now, owes=False)
        elif now.owes:
            now = replace(now, tries=now.tries + 1)
        elif not undone:
            # The client was told that nobody knows. From now on the session repeats the leave.
            now = _owing(now, keep_place=False)
        return _settled(now)

    def gone(self) -> Membership:
        """The owner has ended the membership by itself. A request still under way may renew it."""
        return _settled(replace(self, member=False))

    # --- what follows ----------------------------------------------------------------------------

    @property
    def stage(self) -> Stage:
        """The membership in a word, for people who look."""
        if self.gave_up or (self.waiting and self.last > self.entered):
            return "leaving"
        if self.waiting and not self.member:
            return "joining"
        return "joined" if self.may_be_in else "out"

    @property
    def gave_up(self) -> bool:
        """Whether the session owes a leave, and has not asked to be in since."""
        return self.owes and not self.hopes

    @property
    def may_be_in(self) -> bool:
        """Whether the owner may count the session as a member, by what is known."""
        return self.member or self.doubted_in > self.decided

    @property
    def over(self) -> bool:
        """Whether the session is out for certain, and nothing is under way."""
        return not self.waiting and not self.owes and not self.may_be_in

    @property
    def due(self) -> bool:
        """Whether the leave that it owes can be sent: no request is under way."""
        return self.owes and not self.waiting


def _settled(now: Membership) -> Membership:
    """Return the membership with the consequences of having no request under way any more."""
    if now.waiting:
        return now
    if now.owes and not now.may_be_in:
        return replace(now, owes=False)
    is_in = now.member and now.doubted_out <= now.decided
    if now.may_be_in and not is_in and not now.owes:
        # The client was told that its join failed. The owner may have acted on it, so undo it.
        return _owing(now, keep_place=True)
    return now


def _owing(now: Membership, *, keep_place: bool) -> Membership:
    return replace(now, owes=True, keeps_place=keep_place, owes_since=now.last, hopes=0, tries=0)
