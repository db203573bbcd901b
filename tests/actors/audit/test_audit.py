"""The audit log on the real stores: what is written, that it stays, and who reads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.audit.rows import EraseAddresses, ForgetEntries, ListEntries
from actors.audit_trail import MOST_WAITING, AuditTrail
from actors.runtime.future import Future
from persistence import PostgresSettings, RedisSettings
from persistence.audit import MOST_CHARACTERS, AuditEntry, statement
from persistence.commands import RecordEntries
from persistence.postgres.connection import connect, transaction
from tests.actors.apis import PEER, HostedApi, hosted
from tests.left_out import together_with

WITHIN_S = 30.0


@contextmanager
def sql(postgres: PostgresSettings) -> Iterator[psycopg.Connection]:
    with connect(postgres) as connection, transaction(connection, postgres):
        yield connection


async def listed(api: HostedApi, viewer: str, **filters: Any) -> Any:
    found = await api.call("audit.list", filters, token=viewer)
    return found.data["entries"]


async def entry(api: HostedApi, viewer: str, **filters: Any) -> Any:
    """The newest of these entries, as soon as there is one."""
    with trio.fail_after(WITHIN_S):
        while not (found := await listed(api, viewer, **filters)):
            await trio.sleep(0.01)
    return found[0]


async def test_what_staff_looks_at_and_what_strangers_are_refused_is_written_down(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        viewer = api.staff("viewer")
        await listed(api, viewer)
        looked = await entry(api, viewer, who=viewer, what="audit.list")
        assert (looked["outcome"], looked["address"], looked["as_whom"]) == ("", PEER, "")
        assert (await api.call("audit.list", token=api.token(unique))).code == "forbidden"
        refused = await entry(api, viewer, who=unique, what="audit.*", refused=True)
        assert refused["outcome"] == "forbidden"


@together_with("keys")
async def test_what_keys_do_and_on_whose_behalf_is_written_down(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        viewer = api.staff("viewer")
        create = api.tool("keys", "create")
        (key,) = await create(name="staff", scopes=["*"], roles=["operator"], rate=1000.0)
        own = f"key-{key.split('_')[1]}"
        await api.send("DELETE", "/v1/keys/none", token=key)
        failed = await entry(api, viewer, on_whom="none")
        assert (failed["what"], failed["outcome"]) == ("DELETE /v1/keys/{id}", "not_found")
        assert failed["who"] == own
        as_user = {"greenroom-user": unique}
        assert (await api.call("audit.list", token=key, headers=as_user)).code == "forbidden"
        assert (await entry(api, viewer, who=own, what="audit.list"))["as_whom"] == unique


async def test_what_players_do_is_not_written_down(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        viewer = api.staff("viewer")
        await api.call("ping", token=api.token(unique))
        assert (await api.call("ping", token=api.token(unique)[:-2])).code == "bad_token"
        assert (await entry(api, viewer, what="ping"))["outcome"] == "bad_token"
        assert await listed(api, viewer, who=unique) == []


async def test_refusals_beyond_the_rate_are_counted_and_what_staff_does_never_is_left_out(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    few = ("audit.refusals_per_s=0.001", "audit.refusals_burst=3")
    async with hosted(postgres, redis, few) as api:
        viewer = api.staff("viewer")
        for _ in range(8):
            await api.call("audit.list", token=api.token(unique))
            await listed(api, viewer)
        seen = api.services["audit"].watch.seen  # type: ignore[union-attr]
        assert seen == {"staff": 8, "refusals": 3, "left_out": 5}


async def test_pages_follow_one_another_without_a_gap(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        viewer = api.staff("viewer")
        entries = [AuditEntry(what=f"{unique}.{number}", who=unique) for number in range(7)]
        await api.stores.facts.execute(RecordEntries(entries), user="test")
        found: list[str] = []
        cursor = None
        while True:
            page = (
                await api.call(
                    "audit.list",
                    {"what": f"{unique}.*", "limit": 3, "cursor": cursor},
                    token=viewer,
                )
            ).data
            found += [one["what"] for one in page["entries"]]
            cursor = page["cursor"]
            if cursor is None:
                break
        assert found == [f"{unique}.{number}" for number in reversed(range(7))]
        for wrong in ("x", "1", "9" * 40, "1-2-3"):
            bad = await api.call("audit.list", {"cursor": wrong}, token=viewer)
            assert bad.code == "bad_cursor", wrong
        assert (await api.call("audit.list", {"limit": 101}, token=viewer)).code == "out_of_range"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET who = 'x'",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "UPDATE {month} SET who = 'x'",
        "DELETE FROM {month}",
        "TRUNCATE {month}",
    ],
)
async def test_the_database_refuses_to_change_or_delete_an_entry(
    postgres: PostgresSettings, redis: RedisSettings, statement: str
) -> None:
    async with hosted(postgres, redis) as api:
        await api.stores.facts.execute(RecordEntries([AuditEntry(what="x")]), user="test")
        with sql(postgres) as connection:
            row = connection.execute("SELECT max(tableoid::regclass::text) FROM audit").fetchone()
            assert row is not None
            with pytest.raises(psycopg.errors.RaiseException, match="added and never change"):
                connection.execute(statement.format(month=row[0]).encode())
            connection.rollback()


async def test_old_months_are_dropped_and_the_others_stay(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis) as api:
        facts = api.stores.facts
        await facts.execute(RecordEntries([AuditEntry(what="new", address=PEER)]), user="test")
        with sql(postgres) as connection:
            connection.execute("SELECT open_audit(now() - interval '100 days')")
            connection.execute(
                "INSERT INTO audit"
                " VALUES (0, now() - interval '100 days', '', '', 'old', '', '', '{}')"
            )
        day_s = 86_400.0
        assert (await facts.execute(ForgetEntries(0.0), user="test")).deleted == 0
        assert (await facts.execute(ForgetEntries(200 * day_s), user="test")).deleted == 0
        assert (await facts.ask(ListEntries(what="old", limit=9))).entries
        assert (await facts.execute(ForgetEntries(60 * day_s), user="test")).deleted == 1
        assert (await facts.ask(ListEntries(what="old", limit=9))).entries == []
        assert (await facts.ask(ListEntries(what="new", limit=9))).entries


async def test_a_user_gets_their_entries_and_their_addresses_are_erased(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    async with hosted(postgres, redis) as api:
        did = AuditEntry(what="did", who=unique, address="192.0.2.77")
        suffered = AuditEntry(what="suffered", who="mod", address="192.0.2.78", on_whom=unique)
        await api.stores.facts.execute(RecordEntries([did, suffered]), user="test")
        service = api.services["audit"]
        assert service.export is not None
        assert service.erase is not None
        other, own = await service.export(unique)
        assert (own["what"], own["who"], own["address"]) == ("did", unique, "192.0.2.77")
        assert (other["what"], other["who"], other["address"]) == ("suffered", "", "")
        await service.erase(unique)
        _, own = await service.export(unique)
        assert (own["what"], own["address"]) == ("did", "")
        kept = (await api.stores.facts.ask(ListEntries(on_whom=unique, limit=9))).entries
        assert [one.address for one in kept] == ["192.0.2.78"]
        await api.stores.facts.execute(EraseAddresses("mod"), user="test")


async def test_an_entry_is_written_with_the_transaction_or_not_at_all(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    from actors.edge.failures import Refused
    from persistence.commands import CommandTable, CommandWorker, Execute, Transaction
    from persistence.commands.kinds import CommandKind
    from protocol.errors import FORBIDDEN

    def run(tx: Transaction, command: RecordEntries) -> None:
        tx.record(command.entries[0])
        if command.entries[0].outcome:
            raise Refused(FORBIDDEN)

    kind = CommandKind(service="t", name="t", command=RecordEntries, run=run)
    worker = CommandWorker.start(postgres, CommandTable([kind], (Refused,)))
    entries = [AuditEntry(what=f"{unique}.{end}", outcome=end) for end in ("", "no", "")]
    asked = [
        worker.ask(Execute(RecordEntries([one]), "u", None, 1e12), block=False) for one in entries
    ]
    ends = []
    for one in asked:
        try:
            one.get()
            ends.append("")
        except Refused:
            ends.append("no")
    worker.stop()
    assert ends == ["", "no", ""]
    with sql(postgres) as connection:
        rows = connection.execute("SELECT what FROM audit WHERE what LIKE %s", (f"{unique}%",))
        assert [what for (what,) in rows] == [f"{unique}."] * 2


@given(
    names=st.lists(st.text(st.characters(), max_size=400), min_size=6, max_size=6),
    details=st.dictionaries(st.text(st.characters(), max_size=9), st.text(st.characters())),
)
def test_whatever_an_entry_says_postgresql_can_hold_it(
    names: list[str], details: dict[str, str]
) -> None:
    who, as_whom, address, what, on_whom, outcome = names
    found = statement(
        [
            AuditEntry(
                who=who, as_whom=as_whom, address=address, what=what, on_whom=on_whom,
                outcome=outcome, details=details,
            )
        ]
    )  # fmt: skip
    for parameter in found.parameters:
        text = parameter[24:]
        text.decode()
        assert b"\0" not in text
        assert len(text.decode()) <= 4 * MOST_CHARACTERS


async def test_an_entry_waits_while_postgresql_is_away_and_too_many_are_logged() -> None:
    class Away:
        def __init__(self) -> None:
            self.away = True
            self.written = 0

        def execute(self, _: Any, *, user: str) -> Future[Any]:
            answer: Future[Any] = Future()
            if self.away:
                answer.set_exception(RuntimeError("away"))
            else:
                self.written += 1
                answer.set(None)
            return answer

    facts: Any = Away()
    later: list[Any] = []
    trail = AuditTrail(facts, lambda _, again: later.append(again))
    for _ in range(MOST_WAITING + 2):
        trail.record(AuditEntry(what="x"))
    assert (trail.waiting, trail.recorded["logged"]) == (MOST_WAITING, 2)
    facts.away = False
    for again in later:
        again()
    assert (trail.waiting, facts.written, trail.recorded["written"]) == (0, *[MOST_WAITING] * 2)
