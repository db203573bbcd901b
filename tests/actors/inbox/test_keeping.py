"""Inboxes delete old entries, and say where they begin."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.facts import Facts
from actors.inbox.entries import Trimmed
from actors.inbox.service import trimming
from actors.inbox.settings import InboxSettings
from actors.runtime.journal import unix_us
from persistence import PostgresSettings
from persistence.postgres import migrate
from persistence.postgres.connection import connect, transaction
from tests.actors.inbox.mailroom import joined, open_mailroom, page, user_of

YEAR_US = 365 * 86_400 * 10**6


@pytest.fixture(scope="module")
def apart(postgres_url_of_module: str) -> PostgresSettings:
    """A schema of its own, because a step goes over all users of a schema."""
    found = PostgresSettings(url=postgres_url_of_module, schema="trimmed_inboxes")
    migrate(found, ["inbox"])
    return found


@pytest.fixture(scope="module")
def postgres_url_of_module(inboxes: PostgresSettings) -> str:
    return inboxes.url


def fill(connection: psycopg.Connection, inboxes: dict[str, list[int]]) -> None:
    """Make these the only entries: for each user the times at which they came."""
    connection.execute("DELETE FROM inbox_entries")
    connection.execute("DELETE FROM inboxes")
    for user, times in inboxes.items():
        connection.execute("INSERT INTO inboxes VALUES (%s, %s)", (user, len(times)))
        for offset, at_us in enumerate(times, start=1):
            connection.execute(
                "INSERT INTO inbox_entries VALUES (%s, %s, 'note', '', %s)", (user, offset, at_us)
            )


def kept(connection: psycopg.Connection) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    rows = connection.execute("SELECT user_id, entry_offset FROM inbox_entries ORDER BY 1, 2")
    for user, offset in rows:
        found.setdefault(user, []).append(offset)
    return found


def stays(times: list[int], most: int, before_us: int) -> list[int]:
    """Return what must stay of an inbox: everything from the first entry that both rules keep."""
    for offset, at_us in enumerate(times, start=1):
        if offset > len(times) - most and at_us >= before_us:
            return list(range(offset, len(times) + 1))
    return []


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(["ada", "bob", "cyd", "dan", "Eve"]),
        st.lists(st.integers(0, 9), max_size=8),
    ),
    st.integers(1, 6),
    st.integers(0, 9),
    st.integers(1, 3),
    st.integers(1, 6),
)
def test_a_round_leaves_what_is_to_be_kept_and_nothing_else(
    apart: PostgresSettings,
    inboxes: dict[str, list[int]],
    most: int,
    before_us: int,
    names: int,
    at_once: int,
) -> None:
    """It runs in small steps, and the last one says so. The clock may be set back meanwhile."""
    with connect(apart) as connection, transaction(connection, apart):
        fill(connection, inboxes)
        reached: str | None = ""
        for _ in range(200):
            before = sum(map(len, kept(connection).values()))
            row = connection.execute(
                "SELECT * FROM trim_inboxes(%s, %s, %s, %s, %s)",
                (reached, names, most, before_us, at_once),
            ).fetchone()
            assert row is not None
            step = Trimmed(*row)
            assert step.deleted == before - sum(map(len, kept(connection).values())) <= at_once
            reached = step.reached
            if reached is None:
                break
        assert reached is None
        wanted = {user: stays(times, most, before_us) for user, times in inboxes.items()}
        assert kept(connection) == {user: found for user, found in wanted.items() if found}


async def test_history_ends_where_what_is_kept_begins(inboxes: PostgresSettings) -> None:
    async with open_mailroom(inboxes, InboxSettings(recent=2)) as room:
        ada = await room.house.player("ada")
        user = user_of(ada)
        for number in range(1, 13):
            await room.put(user, payload=number)
        assert (await joined(ada)).offset == 12
        assert [entry.offset for entry in (await page(ada)).entries] == list(range(1, 13))
        small = InboxSettings(kept=5, kept_s=0)  # not the node's, which goes by its own clock
        assert await _trim_all(room.facts, small) is None
        found = await page(ada)
        assert [entry.offset for entry in found.entries] == [8, 9, 10, 11, 12]
        assert (found.more, found.offset, found.unread) == (False, 12, 12)
        assert [entry.offset for entry in (await page(ada, 0, 4)).entries] == [9, 10, 11, 12]
        assert (await page(ada, 0, 4)).more
        assert (await page(ada, 8, 4)).entries == []


async def test_an_inbox_of_which_nothing_is_left_knows_its_offset(
    inboxes: PostgresSettings,
) -> None:
    aged = InboxSettings(kept=0, kept_s=86_400)
    async with open_mailroom(inboxes, aged) as room:
        ada = await room.house.player("ada")
        user = user_of(ada)
        await room.put(user)
        await room.put(user)
        assert await _trim_all(room.facts, aged) is None
        assert [entry.offset for entry in (await joined(ada)).entries] == [1, 2]
        bob = await room.house.player("bob")
        await room.put(user_of(bob))
        assert await _trim_all(room.facts, aged, unix_us() + YEAR_US) is None
        state = await joined(bob)
        assert (state.offset, state.unread, state.entries) == (1, 1, [])
        await room.put(user_of(bob))
        assert [entry.offset for entry in (await page(bob)).entries] == [2]


async def _trim_all(facts: Facts, settings: InboxSettings, now_us: int | None = None) -> str | None:
    step = trimming(facts, settings, lambda: unix_us() if now_us is None else now_us)
    reached: str | None = ""
    for _ in range(1000):
        if reached is None:
            break
        reached = (await step(reached)).reached
    return reached
