"""The chaos suite's short form: one of each family of faults. `make chaos` is the long one."""

from __future__ import annotations

import pytest

from tests.chaos.plan import chosen_plan, draw_plan
from tests.chaos.run import perform
from tests.protocol.js.tools import NODE


def test_what_was_acknowledged_is_kept_under_faults() -> None:
    plan = chosen_plan(
        20_261,
        "kill server",
        "usurp server",
        "refuse writes",
        "break a hook",
        "stop reading",
        "reset connections",
        senders=12,
        resume_within_s=2.0,
    )
    report = perform(plan)
    assert report.kept, report.text()
    assert report.operations["sends acknowledged"] > 0, report.text()
    assert report.operations["writes of objects acknowledged"] > 0, report.text()
    assert report.operations["entries of inboxes acknowledged"] > 0, report.text()
    assert report.operations["changes of friends and blocks acknowledged"] > 0, report.text()
    if NODE is not None:
        assert report.operations["messages read by the TypeScript client"] > 0, report.text()
    assert report.operations["durable inputs acknowledged"] > 0, report.text()
    assert len(report.recovery_s) == 1


@pytest.mark.failover
def test_nodes_keep_what_was_acknowledged_while_links_are_cut_and_valkey_fails_over() -> None:
    plan = chosen_plan(
        20_262,
        "cut link",
        "fail over Valkey",
        "break a hook",
        "slow link",
        "cut link",
        "stop reading",
        senders=12,
        nodes=3,
    )
    report = perform(plan)
    assert report.kept, report.text()
    assert report.operations["sends acknowledged"] > 0, report.text()
    assert report.operations["durable inputs acknowledged"] > 0, report.text()
    assert report.logged["sabotaged"] > 0, report.text()


def test_the_same_seed_draws_the_same_plan() -> None:
    plan = draw_plan(7, faults=40, kills=10, away=1)
    assert plan == draw_plan(7, faults=40, kills=10, away=1)
    assert plan != draw_plan(8, faults=40, kills=10, away=1)
    for step in plan.steps:  # the same numbers also for what a fault draws while it runs
        assert step.rng().random() == step.rng().random()


def test_a_plan_holds_all_that_was_asked_for_and_ends_with_the_server_up() -> None:
    plan = draw_plan(7, faults=40, kills=50, away=2)
    assert plan.faults()["kill server"] >= 50
    assert plan.faults()["PostgreSQL away for 30 s"] == 2
    assert len(plan.steps) == 40 + 50 + 2 + 6
    assert not any(step.fault.ends_server for step in plan.steps[-6:])


def test_only_faults_that_exist_can_be_chosen() -> None:
    assert set(draw_plan(1, faults=9, only="Valkey").faults()) <= {"kill Valkey", "freeze Valkey"}
    with pytest.raises(ValueError, match="no fault is called like 'earthquake'"):
        draw_plan(1, faults=9, only="earthquake")
