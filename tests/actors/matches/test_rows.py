"""The rows of matches, in PostgreSQL."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from actors.acquaintances import PlayedWith
from actors.edge.failures import Refused
from actors.matches.commands import (
    ForgetCreator,
    ForgetKeys,
    ForgetPlayers,
    KeysForgotten,
    ReportMatches,
)
from actors.matches.entry import MatchEntry
from actors.matches.messages import RollCall, StartMatch
from actors.matches.queries import (
    Creation,
    MatchesOfCreator,
    MatchOfKey,
    RunningMatches,
    UnmadeMatches,
)
from actors.matches.rules.room import Limits
from persistence import StoreUnavailable
from persistence.commands import Done
from persistence.postgres.connection import connect
from protocol.errors import TOO_MANY_MATCHES
from tests.actors.matches.register import GAMES, WIDE, Register, opening
from tests.persistence.asking import end_other_sessions

KEY = "k\0é€"  # whatever a client may send


def test_matches_are_listed_newest_first_all_or_of_one_game(register: Register) -> None:
    names = [register.open(opening(game=game)).match for game in (*GAMES, "arena", "gone")]
    assert [one.match for one in register.listed()] == names[-2::-1]
    assert [one.match for one in register.listed(limit=2)] == [names[2], names[1]]
    assert [one.match for one in register.listed("arena")] == [names[2], names[0]]
    assert register.listed("chess") == []
    register.run(ReportMatches([(names[0], 3), (names[1], 1), ("arena-other", 7)], []))
    register.run(ReportMatches([(names[1], 0)], []))
    assert [one.players for one in register.listed()] == [0, 0, 3]
    register.end(names[0])
    assert [one.match for one in register.listed()] == [names[2], names[1]]


def test_a_row_says_what_its_match_is_to_be_made_of_until_it_is_made(register: Register) -> None:
    entry = register.open(opening(match="arena-1"))
    assert entry.call() == StartMatch("arena", {"goal": 3}, 2**64 - 1, entry.at)
    assert register.ask(RunningMatches("", 10)) == [entry]
    assert register.ask(UnmadeMatches(0, 10)) == [entry]
    assert register.ask(UnmadeMatches(60_000, 10)) == []
    register.run(ReportMatches([("arena-1", 0)], []))
    (made,) = register.ask(RunningMatches("", 10))
    assert made == MatchEntry("arena-1", "arena", entry.at, None)
    assert made.call() == RollCall()
    assert register.ask(UnmadeMatches(0, 10)) == []


def test_running_matches_are_read_page_by_page(register: Register) -> None:
    names = sorted(register.open(opening()).match for _ in range(7))
    found: list[str] = []
    while page := register.ask(RunningMatches(found[-1] if found else "", 3)):
        found += [entry.match for entry in page]
    assert found == names


def test_a_key_acts_once_for_its_user_while_the_match_runs_and_after(register: Register) -> None:
    first = register.open(opening(key=KEY))
    for worker in (0, 1):
        assert register.open(opening(key=KEY), worker=worker) == first
    assert register.open(opening("bob", key=KEY)).match != first.match
    assert register.ask(MatchOfKey("ada", KEY)) == first.match
    register.end(first.match)
    ended = register.open(opening(key=KEY))
    assert (ended.match, ended.start) == (first.match, None)
    assert register.ask(MatchOfKey("ada", KEY)) == first.match
    assert register.ask(MatchOfKey("ada", "other")) is None
    assert len(register.listed()) == 1


def test_the_key_of_what_could_not_be_made_is_free_again(register: Register) -> None:
    first = register.open(opening(key="k"))
    register.end(first.match, keeps_key=False)
    assert register.ask(MatchOfKey("ada", "k")) is None
    assert register.open(opening(key="k")).match != first.match


def test_a_retry_is_answered_though_there_is_no_room_any_more(register: Register) -> None:
    one = Limits(of_all=1, of_user=1, of_address=1, unjoined_ms=1000)
    first = register.open(opening(key="k", limits=one))
    assert register.open(opening(key="k", limits=one)) == first
    with pytest.raises(Refused):
        register.open(opening(key="other", limits=one))


def test_ended_matches_leave_nothing_but_their_keys_and_those_for_a_while(
    register: Register,
) -> None:
    matches = [
        register.open(opening(key=f"k{n}" if n % 2 else None, address="203.0.113.7")).match
        for n in range(20)
    ]
    register.end(*matches, *matches)
    assert register.one("SELECT count(*) FROM matches") == 0
    assert register.is_sound()
    assert register.run(ForgetKeys(60_000, 100, 500)) == KeysForgotten(None, 0)
    assert register.run(ForgetKeys(60_000, 7, 2)) == KeysForgotten("", 2)
    assert register.run(ForgetKeys(60_000, 7, 500)).reached is None
    assert register.one("SELECT count(*) FROM ended_match_keys") <= 7
    register.do("UPDATE ended_match_keys SET ended_ms = ended_ms - 3_600_000")
    register.run(ForgetKeys(3_599_000, 100, 500))
    assert register.one("SELECT count(*) FROM ended_match_keys") == 0


@pytest.mark.parametrize(
    ("limits", "counted"),
    [
        (Limits(of_all=100, of_user=7, of_address=0, unjoined_ms=1), "user"),
        (Limits(of_all=100, of_user=100, of_address=9, unjoined_ms=1), "address"),
        (Limits(of_all=11, of_user=100, of_address=0, unjoined_ms=1), "all"),
    ],
)
def test_a_limit_is_exact_whoever_creates_at_once(
    register: Register, limits: Limits, counted: str
) -> None:
    """On two workers, as on two nodes; some matches end meanwhile."""
    rng = random.Random(7)

    def play(n: int) -> None:
        user = "ada" if counted == "user" else f"u{n}"
        address = "a" if counted == "address" else f"a{n}"
        command = opening(user, address=address, limits=limits)
        try:
            match = register.open(command, worker=n % 2).match
        except Refused as refused:
            assert refused.error is TOO_MANY_MATCHES  # noqa: PT017
            return
        if rng.random() < 0.3:
            register.end(match)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(play, range(100)))
    most = {"user": limits.of_user, "address": limits.of_address, "all": limits.of_all}[counted]
    assert register.is_sound()
    there = len(register.listed())
    assert 0 < there <= most
    outcomes: Counter[str] = Counter()
    with ThreadPoolExecutor(16) as pool:

        def fill(n: int) -> None:
            user = "ada" if counted == "user" else f"v{n}"
            address = "a" if counted == "address" else f"b{n}"
            try:
                register.open(opening(user, address=address, limits=limits), worker=n % 2)
                outcomes["entered"] += 1
            except Refused:
                outcomes["refused"] += 1

        list(pool.map(fill, range(40)))
    assert outcomes["entered"] == most - there
    assert len(register.listed()) == most


def test_who_finds_no_room_is_told_when_there_may_be_some(register: Register) -> None:
    limits = Limits(of_all=2, of_user=100, of_address=0, unjoined_ms=15_000)
    first = register.open(opening(limits=limits)).match
    second = register.open(opening(limits=limits)).match
    register.do(f"UPDATE matches SET created_ms = created_ms - 5000 WHERE match = '{first}'")
    with pytest.raises(Refused) as caught:
        register.open(opening(limits=limits))
    assert caught.value.retry_in_s is not None
    assert 0.5 <= caught.value.retry_in_s <= 10
    register.run(ReportMatches([(first, 1), (second, 1)], []))
    register.run(ReportMatches([(first, 0)], []))  # who was joined is waited for longer
    with pytest.raises(Refused) as caught:
        register.open(opening(limits=limits))
    assert caught.value.retry_in_s is None


def test_with_whom_a_user_has_played_is_known_for_a_while(register: Register) -> None:
    def played_with(user: str) -> list[str]:
        return [fellow.user for fellow in register.ask(PlayedWith(user, 10))]

    def join(*joined: tuple[str, str]) -> None:
        register.run(ReportMatches([], [], joined))

    join(("ada", "one"), ("bob", "one"))
    join(("ada", "two"), ("cyd", "two"), ("dan", "three"))
    assert played_with("ada") == ["cyd", "bob"]
    assert played_with("dan") == []
    join(("bob", "two"))
    assert played_with("ada") == ["bob", "cyd"]
    register.run(ForgetCreator("bob"))
    assert played_with("ada") == ["cyd"]
    assert register.run(ForgetPlayers(3_600_000, 10)).deleted == 0
    assert register.run(ForgetPlayers(-1, 10)).deleted == 4
    assert played_with("ada") == []


def test_what_rows_know_of_a_user_is_exported_and_erased(register: Register) -> None:
    ended = register.open(opening(key=KEY, address="203.0.113.7"))
    register.end(ended.match)
    runs = register.open(opening(key="r", address="203.0.113.7"))
    register.open(opening("bob", key="r", address="203.0.113.7"))
    found: list[Creation] = register.ask(MatchesOfCreator("ada"))
    assert {(one.match, one.game, one.key, one.address) for one in found} == {
        (ended.match, None, KEY, None),
        (runs.match, "arena", "r", "203.0.113.7"),
    }
    register.run(ForgetCreator("ada"))
    (left,) = register.ask(MatchesOfCreator("ada"))
    assert left == Creation(runs.match, "arena", runs.at, None, None)
    assert register.ask(MatchesOfCreator("bob"))[0].address == "203.0.113.7"


def test_what_was_acknowledged_outlives_lost_connections_and_acts_once(
    register: Register,
) -> None:
    rng, made = random.Random(5), []
    with connect(register.settings) as other:
        for n in range(60):
            future = register.begin(opening(key=f"k{n}"), worker=n % 2)
            if rng.random() < 0.3:
                end_other_sessions(other)
            try:
                done: Done = future.get(timeout=60)
            except StoreUnavailable:
                continue
            made.append(done.answer.match)
            assert register.open(opening(key=f"k{n}"), worker=1).match == made[-1]
            if rng.random() < 0.3:
                register.end(made.pop())
    assert len(made) > 20
    assert {one.match for one in register.listed()} >= set(made)
    assert register.is_sound()


def many(register: Register) -> None:
    register.do(
        "INSERT INTO matches (match, game, user_id, address, created_ms, joined) SELECT 'm' || n,"
        " 'arena', 'u' || n % 5000, 'a' || n % 500, n, n % 100 <> 0"
        " FROM generate_series(1, 50000) AS n"
    )


@pytest.mark.parametrize("games", ["arena", "arena,tictactoe"])
def test_a_list_reads_what_it_shows_though_nothing_is_known_of_the_table(
    register: Register, games: str
) -> None:
    many(register)
    read = (
        "SELECT sum(idx_tup_read + seq_tup_read)::bigint FROM pg_stat_user_indexes AS i"
        " JOIN pg_stat_user_tables AS t USING (relid)"
        f" WHERE t.relname = 'matches' AND t.schemaname = '{register.settings.schema}'"
    )
    before = register.one(read)
    register.do(f"SELECT * FROM list_matches('{{{games}}}', 50)")
    after = register.one(read)
    assert 50 <= after - before < 200


def test_what_is_counted_and_woken_is_read_by_indexes(register: Register) -> None:
    many(register)
    register.do("ANALYZE matches")
    with connect(register.settings) as connection, connection.transaction():
        connection.execute(f"SET LOCAL search_path TO {register.settings.schema}".encode())
        for query in (
            "SELECT count(*) FROM matches WHERE user_id = ANY('{u1,u2}'::text[]) GROUP BY user_id",
            "SELECT count(*) FROM matches WHERE address = ANY('{a1}'::text[]) GROUP BY address",
            "SELECT min(created_ms) FROM matches WHERE NOT joined",
            "SELECT match FROM matches WHERE start IS NOT NULL ORDER BY created_ms LIMIT 20",
            "SELECT match FROM matches WHERE match > 'm7' ORDER BY match LIMIT 20",
        ):
            plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN {query}".encode()))
            assert "Index" in plan, plan
            assert "Seq Scan" not in plan, plan
    assert register.open(opening(limits=WIDE)).start is not None
