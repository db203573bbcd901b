"""The TypeScript client passes the tests of the Python client: against scripted servers, which
break off, refuse, crash and close at the moments that matter, and against a real one.
"""

# ruff: noqa: F401 - tests are run here by being imported
from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.protocol import (
    test_client,
    test_client_breaks,
    test_client_live,
    test_client_match,
    test_client_membership,
)
from tests.protocol.js import driven
from tests.protocol.js.tools import needs_node
from tests.protocol.test_client import (
    test_a_message_the_server_would_not_take_never_leaves,
    test_a_reader_that_is_behind_gets_a_gap_and_holds_up_nobody,
    test_a_refused_greeting_says_when_to_come_again,
    test_a_refused_token_is_told_and_a_later_one_ends_the_session,
    test_a_request_without_an_answer_times_out_and_a_late_answer_does_no_harm,
    test_a_session_opens_joins_sends_listens_and_leaves,
    test_an_error_is_raised_with_its_code_and_the_session_goes_on,
    test_an_unknown_push_is_ignored_and_other_nonsense_is_the_end,
    test_members_follow_who_comes_and_goes,
    test_pushes_right_behind_the_answer_to_a_join_are_not_missed,
)
from tests.protocol.test_client_breaks import (
    test_a_close_that_says_so_is_the_end,
    test_a_join_under_way_at_a_break_is_made_again,
    test_a_keyed_send_is_sent_again_after_a_break_and_a_bare_one_is_not,
    test_a_lost_room_says_why_and_one_lost_for_a_moment_is_joined_again,
    test_a_node_that_drains_is_no_failure_and_the_backoff_starts_anew,
    test_a_room_that_crashed_takes_back_what_was_not_durable,
    test_after_a_break_the_room_goes_on_where_it_stopped,
    test_after_a_drain_the_first_wait_has_a_bound_of_its_own,
    test_requests_made_without_a_connection_wait_for_one,
    test_what_could_not_be_recovered_is_a_gap,
    test_what_is_sent_to_a_room_that_is_lost_for_a_moment_waits_for_it,
)
from tests.protocol.test_client_live import (
    server,
    test_a_match_is_played_to_its_end_over_cuts,
    test_a_newer_connection_takes_the_session_over,
    test_cut_again_and_again_a_reader_misses_nothing_and_a_writer_repeats_nothing,
    test_leaving_ends_the_session_for_good,
    test_many_sends_at_once_over_cuts_each_stand_in_the_room_once,
    test_two_clients_chat,
)
from tests.protocol.test_client_match import (
    test_a_match_is_created_joined_played_and_ends,
    test_a_match_that_is_gone_or_left_ends_its_iteration,
    test_a_slow_reader_gets_the_newest_state_and_every_event,
    test_after_a_break_every_event_comes_once_and_a_true_state_last,
    test_stamps_go_on_above_what_another_device_of_the_user_has_used,
    test_what_a_match_could_not_recover_or_took_back_is_a_gap,
    test_when_no_stamp_is_left_an_input_fails_and_nothing_is_sent,
)
from tests.protocol.test_client_membership import (
    test_a_join_behind_a_leave_asks_the_server,
    test_a_leave_that_failed_and_acted_all_the_same_ends_the_iteration,
    test_a_leave_under_way_at_a_break_is_made_again_and_the_room_followed_till_then,
    test_a_room_is_heard_until_its_leave_is_answered,
    test_a_room_lost_for_a_moment_is_not_joined_again_behind_its_leave,
    test_after_a_leave_that_was_refused_the_room_goes_on_and_can_be_left_again,
)

pytestmark = needs_node

SUITES = (
    test_client, test_client_breaks, test_client_live, test_client_match, test_client_membership,
)  # fmt: skip


@pytest.fixture(autouse=True)
def typescript(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the tests connect by the TypeScript client."""
    for suite in SUITES:
        monkeypatch.setattr(suite, "connect", driven.connect)


async def test_over_a_kill_of_the_server_nothing_is_missed(tmp_path: Path) -> None:
    await test_client_live.test_over_a_restart_of_the_server_nothing_is_missed(
        tmp_path, signal.SIGKILL
    )
