"""What one address may do, with a clock that is moved by hand."""

from __future__ import annotations

from typing import Any

import pytest

from actors.edge.doorman import AGAIN_S, Doorman
from actors.edge.settings import SessionSettings
from protocol.errors import RequestError
from protocol.server.settings import WireSettings

HOME, ELSEWHERE = "192.0.2.1", "192.0.2.2"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def doorman(clock: Clock, wire: dict[str, Any] | None = None, **sessions: Any) -> Doorman:
    return Doorman(WireSettings(**wire or {}), SessionSettings(**sessions), clock)


def test_an_address_has_only_so_many_connections_at_once() -> None:
    door = doorman(Clock(), {"address_connections": 2})
    assert door.enter(HOME) is None
    assert door.enter(HOME) is None
    assert door.enter(HOME) == AGAIN_S
    assert door.enter(ELSEWHERE) is None
    door.leave(HOME)
    assert door.enter(HOME) is None


def test_an_address_opens_them_only_so_fast() -> None:
    clock = Clock()
    door = doorman(clock, {"address_connects_per_s": 2.0, "address_connects_burst": 2})
    for _ in range(2):
        assert door.enter(HOME) is None
        door.leave(HOME)
    again_s = door.enter(HOME)
    assert again_s is not None
    assert again_s == pytest.approx(0.5)
    clock.now += again_s + 1e-6
    assert door.enter(HOME) is None


def test_who_knocks_on_and_on_is_not_answered_any_more() -> None:
    clock = Clock()
    door = doorman(clock, {"address_connections": 1})
    assert door.enter(HOME) is None
    answers = [door.enter(HOME) for _ in range(1000)]
    assert answers == [AGAIN_S] * 20 + [0.0] * 980
    clock.now += 1.0
    assert [door.enter(HOME) for _ in range(11)] == [AGAIN_S] * 10 + [0.0]


def test_zero_is_no_limit() -> None:
    door = doorman(
        Clock(),
        {"address_connections": 0, "address_connects_per_s": 0.0},
        address_sessions=0,
        address_opens_per_s=0.0,
        address_resumes_per_s=0.0,
    )
    for _ in range(10_000):
        assert door.enter(HOME) is None
        door.charge_session(HOME)
        door.began(HOME)
        door.charge_resume(HOME, anew=True)


def test_new_sessions_take_nothing_from_those_who_resume() -> None:
    clock = Clock()
    door = doorman(
        clock,
        address_opens_per_s=1.0,
        address_opens_burst=5,
        address_resumes_per_s=1.0,
        address_resumes_burst=20,
    )
    for _ in range(5):
        door.charge_session(HOME)
    with pytest.raises(RequestError) as refused:
        door.charge_session(HOME)
    assert refused.value.error.code == "too_many_sessions"
    assert refused.value.retry_in_s == pytest.approx(1.0)
    for _ in range(20):
        door.charge_resume(HOME, anew=False)
    with pytest.raises(RequestError):
        door.charge_resume(HOME, anew=False)
    door.charge_session(ELSEWHERE)


def test_the_last_sessions_of_an_address_are_for_those_who_resume() -> None:
    door = doorman(Clock(), address_sessions=10)
    for _ in range(9):
        door.charge_session(HOME)
        door.began(HOME)
    with pytest.raises(RequestError):
        door.charge_session(HOME)
    door.charge_resume(HOME, anew=True)
    door.began(HOME)
    with pytest.raises(RequestError):
        door.charge_resume(HOME, anew=True)
    door.charge_resume(HOME, anew=False)  # its session is there already
    for _ in range(2):
        door.ended(HOME)
    door.charge_session(HOME)


def test_addresses_that_left_nothing_are_forgotten() -> None:
    clock = Clock()
    door = doorman(clock)
    for number in range(1000):
        assert door.enter(f"stays-{number}") is None
    for number in range(100_000):
        clock.now += 0.1
        assert door.enter(f"{number}") is None
        door.leave(f"{number}")
    assert len(door) < 4000
    door.leave("stays-0")


def test_who_has_no_address_has_no_limits() -> None:
    door = doorman(Clock(), address_sessions=1, address_opens_per_s=0.001, address_opens_burst=1)
    for _ in range(1000):
        door.charge_session(None)
        door.began(None)
        door.charge_resume(None, anew=True)
