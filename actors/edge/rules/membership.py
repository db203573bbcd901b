"""A session's view of its membership in one topic, as its requests are answered. A pure value.

The topic's owner is the one truth of who is a member. It takes a session's requests in the order
they were made, but their answers come in any order, or not at all; so each request has a number,
and the answer to the latest of those that were answered is what is known.

Until the owner has said that the session is out, there is a membership to hold on to: the session
may be in. That way a leave that was refused can be asked for again, and one that the session owes
is not forgotten.
"""

from __future__ import annotations

import enum
from typing import Literal

import msgspec
from msgspec.structs import replace

Stage = Literal["joining", "joined", "leaving", "out"]


class Answer(enum.Enum):
    """What became of a request."""

    DONE = "done"
    """The owner did what was asked."""
    DENIED = "denied"
    """The owner says that the session is not in the topic."""
    UNDONE = "undone"
    """It changed nothing and will not: it was refused on its way, or by an owner that is busy."""
    UNKNOWN = "unknown"
    """It may have acted, or still will."""


class Membership(msgspec.Struct, frozen=True, gc=False):
    """What is known, what is under way, and what the session owes the owner.

    `asks` make it the membership with one more request, whose number is `last` then; `answered`
    takes the answer with that number. A request is to be in (a join, a resume) or to be out.
    """

    member: bool = False
    """What the owner said last."""
    last: int = 0
    """The number of the newest request."""
    entered: int = 0
    """The number of the newest request to be in."""
    decided: int = 0
    """The number of the request that `member` is the answer to."""
    doubted_in: int = 0
    """The number of the newest request to be in of which it is not known whether it acts. An answer
    to a later one ends the doubt, as the owner has taken this one by then.
    """
    doubted_out: int = 0
    """The same of requests to be out."""
    waiting: int = 0
    """Requests that are not answered yet."""
    owes: bool = False
    """The session is to be out, and nobody else will see to it."""
    keeps_place: bool = True
    """What it owes: whether the user's place in a match is to be kept for a while."""
    owes_since: int = 0
    """The number of the newest request when that began."""
    hopes: int = 0
    """Requests to be in that were made since, and are not answered yet: one that is done ends what
    is owed, one that fails leaves it as it was.
    """
    tries: int = 0
    """How often what it owes has failed."""

    # --- what is asked ---------------------------------------------------------------------------

    def asks_in(self) -> Membership:
        """A join or a resume. What is owed waits for how it ends."""
        number, hopes = self.last + 1, self.hopes + self.owes
        return replace(self, last=number, entered=number, waiting=self.waiting + 1, hopes=hopes)

    def asks_out(self) -> Membership:
        """A leave, be it asked for or owed."""
        return replace(self, last=self.last + 1, waiting=self.waiting + 1)

    def gives_up(self, *, keep_place: bool) -> Membership:
        """The session is to be out: its client was told so, or does not know that it is in.

        `keep_place` False: by the user's own word, which stands.
        """
        keeps_place = keep_place and (self.keeps_place or not self.owes)
        return _settled(_owing(self, keep_place=keeps_place))

    # --- what is answered ------------------------------------------------------------------------

    def answered_in(self, number: int, answer: Answer) -> Membership:
        """The answer to a request to be in. Only DENIED takes a membership away."""
        now = replace(self, waiting=self.waiting - 1)
        if self.owes and number > self.owes_since:
            done = answer in (Answer.DONE, Answer.DENIED)
            now = replace(now, hopes=self.hopes - 1, owes=not done)
        if answer is Answer.UNKNOWN:
            now = replace(now, doubted_in=max(self.doubted_in, number))
        elif answer is not Answer.UNDONE and number > self.decided:
            now = replace(now, member=answer is Answer.DONE, decided=number)
        return _settled(now)

    def answered_out(self, number: int, answer: Answer) -> Membership:
        """The answer to a request to be out."""
        now = replace(self, waiting=self.waiting - 1)
        undone, done = answer is Answer.UNDONE, answer in (Answer.DONE, Answer.DENIED)
        if answer is Answer.UNKNOWN:
            now = replace(now, doubted_out=max(self.doubted_out, number))
        elif done and number > self.decided:
            now = replace(now, member=False, decided=number)
        if number < self.entered:
            pass  # a request to be in came after it
        elif done:
            now = replace(now, owes=False)
        elif now.owes:
            now = replace(now, tries=now.tries + 1)
        elif not undone:
            # Whoever asked was told that it is not known. From now on it is seen to.
            now = _owing(now, keep_place=False)
        return _settled(now)

    def gone(self) -> Membership:
        """The owner has ended it by itself. What it has yet to take may begin it anew."""
        return _settled(replace(self, member=False))

    # --- what follows ----------------------------------------------------------------------------

    @property
    def stage(self) -> Stage:
        """In a word."""
        if self.gave_up or (self.waiting and self.last > self.entered):
            return "leaving"
        if self.waiting and not self.member:
            return "joining"
        return "joined" if self.may_be_in else "out"

    @property
    def gave_up(self) -> bool:
        """Whether the session is to be out, as far as it is concerned."""
        return self.owes and not self.hopes

    @property
    def may_be_in(self) -> bool:
        """Whether, by what was answered, the owner may have the session as a member."""
        return self.member or self.doubted_in > self.decided

    @property
    def over(self) -> bool:
        """Whether the session is out for certain, and nothing is under way."""
        return not self.waiting and not self.owes and not self.may_be_in

    @property
    def due(self) -> bool:
        """Whether what it owes is to be asked for now or later: nothing else is under way."""
        return self.owes and not self.waiting


def _settled(now: Membership) -> Membership:
    """With what follows once nothing is under way any more."""
    if now.waiting:
        return now
    if now.owes and not now.may_be_in:
        return replace(now, owes=False)
    is_in = now.member and now.doubted_out <= now.decided
    if now.may_be_in and not is_in and not now.owes:
        # Who asked to be in was told that it failed. Should it have acted, it is undone.
        return _owing(now, keep_place=True)
    return now


def _owing(now: Membership, *, keep_place: bool) -> Membership:
    return replace(now, owes=True, keeps_place=keep_place, owes_since=now.last, hopes=0, tries=0)
