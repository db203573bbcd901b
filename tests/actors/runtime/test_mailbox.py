from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from actors import Future, MailboxFull, MailboxSpec
from actors.runtime.mailbox import Control, Mailbox, OnFull

POLICIES: list[OnFull] = ["refuse", "drop_oldest", "drop_newest", "wait"]


class MailboxMachine(RuleBasedStateMachine):
    """A mailbox beside a model: a list of what is in it, and of who waits."""

    @initialize(capacity=st.integers(1, 4), policy=st.sampled_from(POLICIES))
    def open(self, capacity: int, policy: OnFull) -> None:
        self.policy = policy
        self.capacity = capacity
        self.mailbox = Mailbox(MailboxSpec(capacity, policy))
        self.model: deque[Any] = deque()
        self.waiting: deque[tuple[int, Future[bool]]] = deque()
        self.count = 0
        self.dropped = 0
        self.refused = 0

    def ordinary(self) -> list[Any]:
        return [item for item in self.model if not isinstance(item, Control)]

    def is_full(self) -> bool:
        return len(self.ordinary()) >= self.capacity

    @rule()
    def put(self) -> None:
        self.count += 1
        item = self.count
        if not self.is_full():
            assert self.mailbox.put(item) is None
            self.model.append(item)
        elif self.policy == "drop_oldest":
            oldest = self.ordinary()[0]
            assert self.mailbox.put(item) == oldest
            self.model.remove(oldest)
            self.model.append(item)
            self.dropped += 1
        elif self.policy == "drop_newest":
            assert self.mailbox.put(item) == item
            self.dropped += 1
        else:
            with pytest.raises(MailboxFull):
                self.mailbox.put(item)
            self.refused += 1

    @rule(first=st.booleans())
    def put_control(self, first: bool) -> None:
        control = Control("order")
        self.mailbox.put_control(control, first=first)
        if first:
            self.model.appendleft(control)
        else:
            self.model.append(control)

    @precondition(lambda self: self.policy == "wait")
    @rule()
    def wait_for_room(self) -> None:
        self.count += 1
        admitted: Future[bool] = Future()
        self.mailbox.wait_for_room(self.count, admitted)
        self.waiting.append((self.count, admitted))
        self.let_in()

    @precondition(lambda self: bool(self.waiting))
    @rule(data=st.data())
    def give_up_waiting(self, data: st.DataObject) -> None:
        item, admitted = data.draw(st.sampled_from(list(self.waiting)))
        admitted.expire()
        self.waiting.remove((item, admitted))

    @precondition(lambda self: bool(self.model))
    @rule()
    def get(self) -> None:
        item = self.mailbox.get()
        expected = self.model.popleft()
        assert item is expected or item == expected
        self.let_in()

    def let_in(self) -> None:
        while self.waiting and not self.is_full():
            item, admitted = self.waiting.popleft()
            assert admitted.done
            self.model.append(item)

    @rule()
    def close(self) -> None:
        left = self.mailbox.close()
        assert left == [*self.model, *(item for item, _ in self.waiting)]
        assert all(admitted.done for _, admitted in self.waiting)
        self.model.clear()
        self.waiting.clear()

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        assert list(self.mailbox.queue) == list(self.model)
        assert len(self.mailbox) == len(self.model)
        assert self.mailbox.empty() == (not self.model)

    @invariant()
    def counts_are_right(self) -> None:
        assert self.mailbox.controls == len(self.model) - len(self.ordinary())
        assert self.mailbox.full() == self.is_full()
        assert (self.mailbox.dropped, self.mailbox.refused) == (self.dropped, self.refused)

    @invariant()
    def ordinary_messages_never_exceed_the_capacity(self) -> None:
        assert len(self.ordinary()) <= self.capacity

    @invariant()
    def nobody_waits_while_there_is_room(self) -> None:
        assert self.is_full() or not self.waiting


TestMailbox = MailboxMachine.TestCase


def test_a_mailbox_holds_at_least_one_message() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        MailboxSpec(0)


def test_nothing_can_be_taken_out_of_an_empty_mailbox() -> None:
    with pytest.raises(IndexError):
        Mailbox(MailboxSpec()).get()
