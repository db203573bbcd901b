"""The settings that a load needs beyond Greenroom's defaults."""

from __future__ import annotations

from bench.idle import Idle
from bench.rooms import Rooms


def test_rooms_that_are_charged_for_their_size_are_measured_without_that_limit() -> None:
    without = {"sessions.deliveries_per_s=0", "sessions.deliveries_all_per_s=0"}
    for plan in (Rooms(members=101), Idle(members=5000)):
        assert without <= set(plan.needs())
    for plan in (Rooms(members=100), Idle(members=0)):
        assert without.isdisjoint(plan.needs())
