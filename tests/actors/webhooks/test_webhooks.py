"""Webhooks on the real stores, to a receiver that takes, fails, hangs and redirects."""

from __future__ import annotations

import base64
import contextlib
import random
import secrets
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import trio

from actors.edge.failures import Refused
from actors.webhooks.rows import DueEvent, TakeDue, TidyWebhooks
from actors.webhooks.sender import pause_s, verdict
from actors.webhooks.settings import WebhookSettings
from persistence import PostgresSettings, RedisSettings
from persistence.commands import CommandKind, CommandTable, CommandWorker, Execute, Transaction
from persistence.postgres.connection import run_once
from protocol.errors import FORBIDDEN
from protocol.http.posting import PostOutcome
from protocol.http.signature import signature
from tests.actors.apis import HostedApi, hosted
from tests.actors.webhooks.receiver import (
    CLOSE,
    FAIL,
    GONE,
    HANG,
    HUGE,
    NOISE,
    TAKE,
    Receiver,
    receiving,
)
from tests.left_out import together_with

WITHIN_S = 30.0
QUICK = (
    'webhooks.networks=["127.0.0.0/8"]',
    "webhooks.first_retry_s=0.01",
    "webhooks.longest_retry_s=0.02",
    "webhooks.look_every_s=0.01",
    "webhooks.timeout_s=30",  # a busy machine takes long, and what is late would be sent again
)


def announce(postgres: PostgresSettings) -> str:
    """Announce an event as a command does; returns its user."""
    user = secrets.token_hex(8)
    data = msgspec.json.encode({"user": user}).decode()
    statement = "SELECT {schema}.announce_events(ARRAY['account.created'], ARRAY[%s])"
    run_once(postgres, statement, (data,))
    return user


async def hooked(api: HostedApi, token: str, receiver: Receiver, *events: str) -> tuple[str, bytes]:
    """Make a webhook; returns its id and its secret."""
    new = {"url": receiver.url, "events": list(events) or ["*"]}
    made = (await api.send("POST", "/v1/webhooks", new, token=token)).data
    return made["id"], base64.b64decode(made["secret"].removeprefix("whsec_"))


async def until(true: Callable[[], bool]) -> None:
    with trio.fail_after(WITHIN_S):
        while not true():
            await trio.sleep(0.01)


async def shown(api: HostedApi, token: str, id_: str) -> Any:
    listed = (await api.send("GET", "/v1/webhooks", token=token)).data["webhooks"]
    (found,) = [one for one in listed if one["id"] == id_]
    return found


async def shown_as(api: HostedApi, token: str, id_: str, **fields: Any) -> Any:
    """The webhook, as soon as it has these fields."""
    with trio.fail_after(WITHIN_S):
        while True:
            found = await shown(api, token, id_)
            if all(found[name] == value for name, value in fields.items()):
                return found
            await trio.sleep(0.01)


async def dropped(api: HostedApi, token: str, id_: str) -> None:
    assert (await api.send("DELETE", f"/v1/webhooks/{id_}", token=token)).status == 204


async def test_an_event_is_sent_once_with_a_signature_and_is_gone_then(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis, QUICK) as api, receiving() as receiver:
        token = api.staff("operator")
        id_, secret = await hooked(api, token, receiver)
        user = announce(postgres)
        await until(lambda: bool(receiver.received))
        (got,) = receiver.received
        assert got.path == "/hook?x=1"
        assert got.event["type"] == "account.created"
        assert got.event["data"] == {"user": user}
        assert got.event["timestamp"].endswith("Z")
        headers = got.headers
        assert headers["host"] == f"127.0.0.1:{receiver.port}"
        signed = signature(
            secret, headers["webhook-id"], int(headers["webhook-timestamp"]), got.body
        )
        assert headers["webhook-signature"] == signed
        found = await shown_as(api, token, id_, waiting=0, last_outcome="HTTP 204")
        assert (found["dead"], found["stopped"], found["url"]) == (0, None, receiver.url)
        await dropped(api, token, id_)


@pytest.mark.parametrize("first", ["fail", "hang", "redirect", "close", "noise", "huge"])
async def test_what_fails_is_sent_again_with_the_same_id_and_no_redirect_is_followed(
    postgres: PostgresSettings, redis: RedisSettings, first: str
) -> None:
    hasty = (*QUICK, "webhooks.timeout_s=0.3")
    async with hosted(postgres, redis, hasty) as api, receiving() as receiver:
        answers = {
            "fail": FAIL, "hang": HANG, "close": CLOSE, "noise": NOISE, "huge": HUGE,
            "redirect": receiver.redirect(),
        }  # fmt: skip
        receiver.script = [answers[first], TAKE]
        token = api.staff("operator")
        id_, _ = await hooked(api, token, receiver)
        announce(postgres)
        await shown_as(api, token, id_, waiting=0, last_outcome="HTTP 204")
        one, two = receiver.received
        assert one.headers["webhook-id"] == two.headers["webhook-id"]
        assert (one.path, one.body) == (two.path, two.body)
        await dropped(api, token, id_)


async def test_what_nobody_takes_for_a_day_is_dead_and_listed_and_sent_again_if_asked(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    dies = (*QUICK, "webhooks.dead_after_s=0.001")
    async with hosted(postgres, redis, dies) as api, receiving(FAIL) as receiver:
        token = api.staff("operator")
        id_, _ = await hooked(api, token, receiver)
        user = announce(postgres)
        await shown_as(api, token, id_, dead=1, waiting=0, last_outcome="HTTP 500")
        path = f"/v1/webhooks/{id_}/events"
        (dead,) = (await api.send("GET", path, token=token)).data["events"]
        assert (dead["next"], dead["last_outcome"]) == (None, "HTTP 500")
        assert msgspec.json.decode(dead["body"])["data"] == {"user": user}
        waiting = await api.send("GET", f"{path}?dead=false", token=token)
        assert waiting.data["events"] == []
        receiver.script = [TAKE]
        assert (await api.send("POST", f"/v1/webhooks/{id_}/resume", token=token)).status == 204
        await shown_as(api, token, id_, dead=0, waiting=0, last_outcome="HTTP 204")
        assert {one.headers["webhook-id"] for one in receiver.received} == {dead["id"]}
        await dropped(api, token, id_)


async def test_a_receiver_that_wants_no_more_gets_no_more(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis, QUICK) as api, receiving(GONE) as receiver:
        token = api.staff("operator")
        id_, _ = await hooked(api, token, receiver)
        announce(postgres)
        await shown_as(api, token, id_, stopped="the receiver has answered 410 Gone")
        announce(postgres)
        assert (await shown(api, token, id_))["waiting"] == 1
        assert len(receiver.received) == 1
        await dropped(api, token, id_)


async def test_two_nodes_share_the_work_and_each_event_is_sent_once(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with (
        hosted(postgres, redis, QUICK) as one,
        hosted(postgres, redis, QUICK),
        receiving() as receiver,
    ):
        token = one.staff("operator")
        id_, _ = await hooked(one, token, receiver)
        for _ in range(10):
            announce(postgres)
            announce(postgres)
        await until(lambda: len(receiver.received) >= 20)
        await shown_as(one, token, id_, waiting=0)
        ids = [got.headers["webhook-id"] for got in receiver.received]
        assert (len(ids), len(set(ids))) == (20, 20)
        await dropped(one, token, id_)


async def test_what_a_node_took_and_never_settled_is_taken_by_another(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    slow = (*QUICK, "webhooks.look_every_s=1000")
    async with hosted(postgres, redis, slow) as api, receiving() as receiver:
        token = api.staff("operator")
        id_, _ = await hooked(api, token, receiver)
        announce(postgres)
        facts = api.stores.facts
        (first,) = (await facts.execute(TakeDue(9, 0.2), user="test")).events
        assert (await facts.execute(TakeDue(9, 0.2), user="test")).events == []
        again: list[DueEvent] = []
        with trio.fail_after(WITHIN_S):
            while not again:
                again = (await facts.execute(TakeDue(9, 0.2), user="test")).events
        assert (again[0].id, again[0].attempt) == (first.id, 2)
        await dropped(api, token, id_)


async def test_too_many_waiting_events_are_left_out_until_half_have_gone(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    slow = (*QUICK, "webhooks.look_every_s=1000")
    async with hosted(postgres, redis, slow) as api, receiving() as receiver:
        token = api.staff("operator")
        id_, _ = await hooked(api, token, receiver)
        for _ in range(2):
            announce(postgres)
        await api.stores.facts.execute(TidyWebhooks(1e6, 2), user="test")
        assert (await shown(api, token, id_))["full"]
        announce(postgres)
        found = await shown(api, token, id_)
        assert found["waiting"] == 2
        await api.stores.facts.execute(TidyWebhooks(1e6, 9), user="test")
        assert (await shown(api, token, id_))["full"] is None
        announce(postgres)
        assert (await shown(api, token, id_))["waiting"] == 3
        await dropped(api, token, id_)


@together_with("accounts")
async def test_a_webhook_is_told_of_an_account_that_is_made_and_of_one_that_is_erased(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    from tests.actors.accounts.test_sign_in import signed_in

    async with hosted(postgres, redis, QUICK) as api, receiving() as receiver:
        token = api.staff("operator")
        id_, _ = await hooked(api, token, receiver, "account.created", "account.erased")
        user = (await signed_in(api))["user"]
        erase = api.services["accounts"].erase
        assert erase is not None
        await erase(user)
        await erase(user)
        await until(lambda: len(receiver.received) >= 2)
        told = {(one.event["type"], one.event["data"]["user"]) for one in receiver.received}
        assert told == {("account.created", user), ("account.erased", user)}
        await dropped(api, token, id_)


@together_with("matches")
async def test_a_webhook_is_told_of_the_end_of_a_match(
    postgres: PostgresSettings, redis: RedisSettings, unique: str
) -> None:
    from actors.matches.commands import ReportMatches

    games = "games.tictactoe=examples.tictactoe:TicTacToe"
    async with hosted(postgres, redis, (*QUICK, games)) as api, receiving() as receiver:
        token = api.staff("operator")
        id_, _ = await hooked(api, token, receiver, "match.ended")
        created = await api.call("match.create", {"game": "tictactoe"}, token=api.token(unique))
        match = created.data["match"]
        for _ in range(2):  # a report that comes twice is told once
            command = ReportMatches(running=(), ended=[(match, True)])
            await api.stores.facts.execute(command, user="test")
        await shown_as(api, token, id_, waiting=0, last_outcome="HTTP 204")
        (got,) = receiver.received
        assert got.event["data"] == {"match": match, "game": "tictactoe", "user": unique}
        await dropped(api, token, id_)


async def test_what_is_refused_announces_nothing(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    class Announce(msgspec.Struct, frozen=True):
        refuse: bool

    def run(tx: Transaction, command: Announce) -> None:
        tx.announce("account.created", {"user": "x"})
        if command.refuse:
            raise Refused(FORBIDDEN)

    slow = (*QUICK, "webhooks.look_every_s=1000")
    async with hosted(postgres, redis, slow) as api, receiving() as receiver:
        token = api.staff("operator")
        id_, _ = await hooked(api, token, receiver)
        kind = CommandKind(service="t", name="t", command=Announce, run=run)
        worker = CommandWorker.start(postgres, CommandTable([kind], (Refused,)))
        asked = [
            worker.ask(Execute(Announce(one), "u", None, 1e12), block=False)
            for one in (True, False, True)
        ]
        for one in asked:
            with contextlib.suppress(Refused):
                one.get()
        worker.stop()
        assert (await shown(api, token, id_))["waiting"] == 1
        await dropped(api, token, id_)


@pytest.mark.parametrize(
    "new",
    [
        {"url": "http://example.com/"},
        {"url": "https://127.0.0.2/"},
        {"url": "https://[::1]/"},
        {"url": "https://[::ffff:10.0.0.1]/"},
        {"url": "https://169.254.169.254/latest/meta-data"},
        {"url": "https://ada:secret@example.com/"},
        {"url": "ftp://example.com/"},
        {"url": "https://"},
        {"url": "https://example.com/a b"},
        {"url": "https://example.com:99999/"},
        {"url": "https://example.com/", "events": ["account.nonsense"]},
    ],
)
async def test_a_url_that_is_not_to_be_reached_is_refused(
    postgres: PostgresSettings, redis: RedisSettings, new: dict[str, Any]
) -> None:
    async with hosted(postgres, redis) as api:
        found = await api.send(
            "POST", "/v1/webhooks", {"events": ["*"], **new}, token=api.staff("operator")
        )
        assert found.code == "bad_message", found


async def test_there_are_so_many_webhooks_at_most_and_each_change_is_in_the_audit_log(
    postgres: PostgresSettings, redis: RedisSettings
) -> None:
    async with hosted(postgres, redis, ["webhooks.most=1"]) as api:
        token = api.staff("operator")
        new = {"url": "https://example.com/hook", "events": ["*"]}
        made = (await api.send("POST", "/v1/webhooks", new, token=token)).data
        over = await api.send("POST", "/v1/webhooks", new, token=token)
        assert over.code == "quota_exceeded"
        await dropped(api, token, made["id"])
        for path, method in (("", "DELETE"), ("/resume", "POST")):
            found = await api.send(method, f"/v1/webhooks/{made['id']}{path}", token=token)
            assert found.code == "not_found"
        rows = run_once(postgres, "SELECT a::text FROM {schema}.audit AS a")
        assert "webhook.made" in str(rows)
        assert "webhook.dropped" in str(rows)
        assert made["secret"] not in str(rows)


def test_pauses_grow_up_to_the_longest_and_are_spread() -> None:
    settings, rng = WebhookSettings(), random.Random(1)
    pauses = [pause_s(attempt, settings, rng) for attempt in range(1, 60)]
    assert 4.0 <= pauses[0] <= 5.0
    assert 8.0 <= pauses[1] <= 10.0
    assert all(2880.0 <= pause <= 3600.0 for pause in pauses[12:])
    assert len(set(pauses)) == len(pauses)


def test_what_is_older_than_a_day_is_not_tried_again() -> None:
    settings, rng = WebhookSettings(), random.Random(1)
    young = DueEvent("m", "u", b"", "{}", 3, 86_399.0)
    failed = PostOutcome(500, "HTTP 500")
    assert verdict(young, failed, settings, rng).again_s is not None
    old = msgspec.structs.replace(young, age_s=86_400.0)
    assert verdict(old, failed, settings, rng).again_s is None
    assert verdict(old, PostOutcome(204, "HTTP 204"), settings, rng).taken
