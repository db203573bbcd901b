"""A session's view of a membership agrees with the owner's, in whatever order answers come."""

from __future__ import annotations

from collections import deque

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.edge.rules.membership import AnswerMeaning, Membership

LOST = (AnswerMeaning.UNDONE, AnswerMeaning.UNKNOWN)


class TwoViews(RuleBasedStateMachine):
    """An owner that takes requests in order, and a session that is answered in any order.

    `queue` has what the owner has yet to take, `answers` what the session has yet to hear.
    """

    @initialize()
    def begin(self) -> None:
        self.view = Membership()
        self.member = False
        self.queue: deque[tuple[str, int, bool]] = deque()  # (what, number, is it still answered?)
        self.answers: list[tuple[str, int, AnswerMeaning]] = []
        self.given_up = False
        self.given_up_at = 0
        self.hopes: set[int] = set()  # requests to be in since then, not answered yet

    # --- the session ---

    @rule(lost=st.booleans())
    def ask_in(self, lost: bool) -> None:
        self.view = self.view.asks_in()
        self.hopes.add(self.view.last)
        self._send("in", lost=lost)

    @precondition(lambda self: not self.view.over)
    @rule(lost=st.booleans())
    def ask_out(self, lost: bool) -> None:
        self.view = self.view.asks_out()
        self._send("out", lost=lost)

    @precondition(lambda self: not self.view.over)
    @rule(keep_place=st.booleans())
    def give_up(self, keep_place: bool) -> None:
        self.view = self.view.gives_up(keep_place=keep_place)
        self.given_up, self.given_up_at = True, self.view.last
        self.hopes.clear()

    @precondition(lambda self: self.view.due)
    @rule(lost=st.booleans())
    def pay(self, lost: bool) -> None:
        self.ask_out(lost=lost)

    def _send(self, what: str, *, lost: bool) -> None:
        number = self.view.last
        if lost:  # the mailbox is full
            self.answers.append((what, number, AnswerMeaning.UNDONE))
        else:
            self.queue.append((what, number, True))

    # --- the owner ---

    @precondition(lambda self: self.queue)
    @rule(says=st.sampled_from(["done", "denied", "busy", "crash before", "crash after"]))
    def take(self, says: str) -> None:
        what, number, is_answered = self.queue.popleft()
        answer = AnswerMeaning.UNKNOWN
        if what == "in" and says == "denied" and not self.member:  # only who is not in is denied
            answer = AnswerMeaning.DENIED
        elif says == "busy":
            answer = AnswerMeaning.UNDONE
        elif says != "crash before":
            self.member = what == "in"
            answer = AnswerMeaning.DONE if says != "crash after" else AnswerMeaning.UNKNOWN
        if is_answered:
            self.answers.append((what, number, answer))

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def pass_the_deadline(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.queue) - 1))
        what, number, is_answered = self.queue[index]
        if is_answered:
            self.queue[index] = (what, number, False)
            self.answers.append((what, number, AnswerMeaning.UNKNOWN))

    @precondition(lambda self: self.member)
    @rule()
    def end(self) -> None:
        """The owner ends.

        The session hears of that after earlier answers: both are messages to it.
        """
        for what, number, answer in [one for one in self.answers if one[2] is AnswerMeaning.DONE]:
            self.answers.remove((what, number, answer))
            self._hear(what, number, answer)
        self.member = False
        self.view = self.view.gone()

    # --- what comes back ---

    @precondition(lambda self: self.answers)
    @rule(data=st.data())
    def hear(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.answers) - 1))
        self._hear(*self.answers.pop(index))

    def _hear(self, what: str, number: int, answer: AnswerMeaning) -> None:
        heard = self.view.answered_in if what == "in" else self.view.answered_out
        self.view = heard(number, answer)
        self.hopes.discard(number)
        if what == "in" and number > self.given_up_at and answer not in LOST:
            self.given_up = False

    # --- what holds ---

    @invariant()
    def a_place_is_held_for_as_long_as_the_owner_may_have_the_session(self) -> None:
        if self.view.over:
            assert not self.member
            assert not any(what == "in" for what, _, _ in self.queue)

    @invariant()
    def what_was_given_up_is_owed_until_it_is_so(self) -> None:
        if self.given_up and not self.hopes and self.member:
            assert self.view.stage == "leaving"

    def teardown(self) -> None:
        """Come to rest: requests are taken, answers are heard, and what is owed is asked for."""
        for _ in range(10):
            while self.queue:
                self.take("done")
            while self.answers:
                self._hear(*self.answers.pop(0))
            if self.view.due:
                self.ask_out(lost=False)
        assert self.view.stage == ("joined" if self.member else "out")
        assert self.view.over is not self.member


TestTwoViews = TwoViews.TestCase


def test_a_refused_second_join_changes_nothing() -> None:
    joined = Membership().asks_in().answered_in(1, AnswerMeaning.DONE)
    for answer in LOST:
        assert joined.asks_in().answered_in(2, answer).stage == "joined"


def test_a_refused_leave_can_be_asked_for_again() -> None:
    joined = Membership().asks_in().answered_in(1, AnswerMeaning.DONE)
    assert joined.asks_out().stage == "leaving"
    refused = joined.asks_out().answered_out(2, AnswerMeaning.UNDONE)
    assert (refused.stage, refused.due) == ("joined", False)
    assert refused.asks_out().answered_out(3, AnswerMeaning.DONE).over


def test_a_leave_of_which_nothing_is_known_is_owed_until_the_owner_confirms_it() -> None:
    joined = Membership().asks_in().answered_in(1, AnswerMeaning.DONE)
    owed = joined.asks_out().answered_out(2, AnswerMeaning.UNKNOWN)
    assert (owed.stage, owed.due, owed.tries) == ("leaving", True, 0)
    again = owed.asks_out().answered_out(3, AnswerMeaning.UNDONE)
    assert (again.stage, again.due, again.tries) == ("leaving", True, 1)
    assert again.asks_out().answered_out(4, AnswerMeaning.DONE).over
    assert (
        again.asks_in().answered_in(4, AnswerMeaning.DONE).stage == "joined"
    )  # unless it comes back


def test_a_join_that_failed_without_a_word_is_undone_and_the_place_in_a_match_kept() -> None:
    failed = Membership().asks_in().answered_in(1, AnswerMeaning.UNKNOWN)
    assert (failed.stage, failed.due, failed.keeps_place) == ("leaving", True, True)
