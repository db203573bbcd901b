from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pykka
import pytest
from pykka import ActorRef

from persistence import StoreInboxFull, StoreUnavailable
from persistence.batching import BatchingActor
from persistence.requests import LastSeq, StoreCheck, StoreRequest


class Gate(BatchingActor):
    """Keeps its first batch until `held` opens it, so that the rest queues up behind it."""

    batch_weight = 8

    def __init__(self, held: Held, capacity: int) -> None:
        super().__init__(capacity=capacity)
        self.held = held

    def weigh(self, request: StoreRequest) -> int:
        return 1

    def answer(self, requests: Sequence[StoreRequest]) -> Sequence[Any]:
        self.held.begun.set()
        self.held.opened.wait(5)
        self.held.batches.append(len(requests))
        keys = [request.key for request in requests if isinstance(request, LastSeq)]
        if "spoilt" in keys:
            raise ZeroDivisionError("the whole batch")
        return [StoreUnavailable("x", key) if key == "away" else key for key in keys]


class Held:
    def __init__(self, capacity: int = 100) -> None:
        self.opened = threading.Event()
        self.begun = threading.Event()
        self.batches: list[int] = []
        self.ref: ActorRef[Any] = Gate.start(self, capacity)
        self.first = self.ask("first")
        assert self.begun.wait(5)

    def ask(self, key: str) -> pykka.Future[Any]:
        return self.ref.ask(LastSeq("k", key), block=False)


@pytest.fixture
def held() -> Iterator[Held]:
    one = Held()
    yield one
    one.opened.set()
    one.ref.stop()


def test_what_queued_up_is_one_batch(held: Held) -> None:
    others = [held.ask(str(n)) for n in range(5)]
    held.opened.set()
    assert [future.get(timeout=5) for future in others] == ["0", "1", "2", "3", "4"]
    assert held.first.get(timeout=5) == "first"
    assert held.batches == [1, 5]


def test_a_batch_ends_at_its_weight(held: Held) -> None:
    others = [held.ask(str(n)) for n in range(10)]
    held.opened.set()
    assert [future.get(timeout=5) for future in others] == [str(n) for n in range(10)]
    assert held.batches == [1, 8, 2]


def test_an_error_goes_to_its_asker_only(held: Held) -> None:
    good, bad = held.ask("good"), held.ask("away")
    held.opened.set()
    assert good.get(timeout=5) == "good"
    with pytest.raises(StoreUnavailable, match="x is unavailable: away"):
        bad.get(timeout=5)


def test_an_unforeseen_error_goes_to_all_and_the_actor_goes_on(held: Held) -> None:
    asked = [held.ask("good"), held.ask("spoilt"), held.ask("too")]
    held.opened.set()
    for future in asked:
        with pytest.raises(ZeroDivisionError):
            future.get(timeout=5)
    assert held.ask("again").get(timeout=5) == "again"


def test_a_stop_among_requests_is_not_lost(held: Held) -> None:
    before = held.ask("before")
    stopped = held.ref.stop(block=False)
    held.opened.set()
    assert before.get(timeout=5) == "before"
    assert stopped.get(timeout=5)
    with pytest.raises(pykka.ActorDeadError):
        held.ref.ask(StoreCheck())


def test_a_full_inbox_refuses_requests_but_takes_a_stop() -> None:
    held = Held(capacity=3)
    asked = [held.ask(str(n)) for n in range(3)]
    with pytest.raises(StoreInboxFull, match="3 calls are waiting already"):
        held.ask("one too many")
    stopped = held.ref.stop(block=False)
    held.opened.set()
    assert [future.get(timeout=5) for future in asked] == ["0", "1", "2"]
    assert stopped.get(timeout=5)


def test_a_message_that_is_no_request_is_left_to_pykka(held: Held) -> None:
    held.opened.set()
    assert held.ref.proxy().batch_weight.get(timeout=5) == 8
    assert held.ref.ask("what is this?", timeout=5) is None
