"""Services are taken out of a server, and put in, in one place: the list in server.py."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio_websocket import WebSocketConnection, open_websocket_url

import server
from actors.node.services import load_services
from tests.left_out import BESIDE, ROOT, VARIABLE, paths_of
from tests.server_process import START_TIMEOUT_S, Server, entry, environment, run

NAMES = [service.name for service in load_services(server.SERVICES)]
PATIENCE_S = 60.0


class Client:
    """A client that any language could have: JSON over a WebSocket."""

    def __init__(self, websocket: WebSocketConnection) -> None:
        self.user = ""
        self.api = ""
        self._websocket = websocket
        self._refs = itertools.count(1)

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """Send a request; returns the reply as it came."""
        ref = next(self._refs)
        with trio.fail_after(PATIENCE_S):
            await self._websocket.send_message(
                msgspec.json.encode({"op": op, "ref": ref, **fields}).decode()
            )
            while True:
                reply: dict[str, Any] = msgspec.json.decode(await self._websocket.get_message())
                if reply.get("ref") == ref:
                    return reply

    async def ok(self, op: str, **fields: Any) -> dict[str, Any]:
        """Send a request that succeeds; returns its data."""
        reply = await self.ask(op, **fields)
        assert reply["op"] == "ok", reply
        data: dict[str, Any] = reply["data"]
        return data

    async def code(self, op: str, **fields: Any) -> str:
        """Send a request that fails; returns the code."""
        reply = await self.ask(op, **fields)
        assert reply["op"] == "error", reply
        return str(reply["code"])


async def chats(client: Client) -> None:
    await client.ok("room.join", room="lobby")
    assert (await client.ok("room.send", room="lobby", body="hi"))["offset"] > 0
    assert (await client.ok("room.history", room="lobby"))["messages"][-1]["body"] == "hi"


async def plays(client: Client) -> None:
    match = (await client.ok("match.create", game="tictactoe"))["match"]
    assert (await client.ok("match.join", match=match))["match"] == match
    listed = (await client.ok("match.list"))["matches"]
    assert match in {one["match"] for one in listed}


async def has_an_inbox(client: Client) -> None:
    state = await client.ok("inbox.join")
    assert (await client.ok("inbox.read", offset=state["offset"]))["unread"] == 0
    assert (await client.ok("inbox.history"))["offset"] == state["offset"]


async def has_friends(client: Client) -> None:
    tie = await client.ok("friend.request", user="nobody")
    (listed,) = (await client.ok("friend.list"))["friends"]
    assert (listed["user"], listed["state"]) == (tie["user"], tie["state"])
    await client.ok("block.add", user="nobody")
    assert (await client.ok("friend.list"))["friends"] == []


async def stores(client: Client) -> None:
    one = {"collection": "saves", "key": "1"}
    (version,) = (await client.ok("storage.write", objects=[{**one, "value": "[7]"}]))["versions"]
    (found,) = (await client.ok("storage.read", objects=[one]))["objects"]
    assert (found["value"], found["version"]) == ("[7]", version)


async def knows_keys(client: Client) -> None:
    assert await status_of(client, "keys") == 401


async def knows_accounts(client: Client) -> None:
    assert await client.ok("account.identities") == {"identities": []}
    assert await status_of(client, "sign-ins") == 401


async def status_of(client: Client, route: str) -> int:
    """How a list is answered to nobody: 404 if the service is not there."""

    def ask() -> int:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{client.api}/v1/{route}", timeout=PATIENCE_S)
        with refused.value as answer:
            return answer.code

    return await trio.to_thread.run_sync(ask)


async def knows_webhooks(client: Client) -> None:
    assert await status_of(client, "webhooks") == 401


async def keeps_an_audit_log(client: Client) -> None:
    assert await client.code("audit.list") == "forbidden"


WORKS: dict[str, Callable[[Client], Awaitable[None]]] = {
    "accounts": knows_accounts,
    "audit": keeps_an_audit_log,
    "chat": chats,
    "friends": has_friends,
    "inbox": has_an_inbox,
    "keys": knows_keys,
    "matches": plays,
    "storage": stores,
    "webhooks": knows_webhooks,
}
"""For each service, what shows that it does its work."""
ONE_OP: dict[str, tuple[str, dict[str, Any]]] = {
    "accounts": ("account.get", {}),
    "audit": ("audit.list", {}),
    "chat": ("room.join", {"room": "lobby"}),
    "friends": ("friend.list", {}),
    "inbox": ("inbox.join", {}),
    "matches": ("match.list", {}),
    "storage": ("storage.read", {"objects": []}),
}


WITHOUT_OPS = {"keys": "keys", "webhooks": "webhooks"}
"""Services that have routes of the HTTP API alone, and one of these."""


async def with_client(
    running: Server, use: Callable[[Client], Awaitable[None]], *, name: str = "ada"
) -> None:
    async with open_websocket_url(running.ws, subprotocols=["greenroom.v1.json"]) as websocket:
        client = Client(websocket)
        client.api = running.api
        client.user = (await client.ok("session.open", name=name))["user"]
        await use(client)


def test_every_service_has_its_work_shown_and_its_tests_named() -> None:
    assert sorted(NAMES) == sorted(WORKS) == sorted({*ONE_OP, *WITHOUT_OPS}) == sorted(BESIDE)
    for name in NAMES:
        for path in paths_of(name):
            assert (ROOT / path).exists(), path


def python_without(service: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment() | {VARIABLE: service},
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
        check=False,
    )


def test_tests_can_be_run_with_a_service_left_out() -> None:
    """`make test-services`, which takes minutes, runs those of all services."""
    others = python_without("chat", "-m", "pytest", "tests/actors/storage/rules/test_cursors.py")
    assert others.returncode == 0, others.stdout
    own = python_without("chat", "-c", "import tests.conftest, actors.chat.room")
    assert "'actors.chat' is not a package" in own.stderr
    unknown = python_without("chess", "-c", "import tests.conftest")
    there = ", ".join(sorted(NAMES))
    assert unknown.stderr == f"WITHOUT_SERVICE=chess: there is {there}\n"
    assert unknown.returncode == 1


@pytest.mark.parametrize("name", NAMES)
async def test_a_service_that_is_taken_out_is_gone_and_the_others_work(
    name: str, tmp_path: Path
) -> None:
    """The database is one that it has used before, and config.toml is as shipped."""
    start = lambda *more: Server(tmp_path, "http.enabled=true", entry=entry(*more))  # noqa: E731

    async def all_work(client: Client) -> None:
        for works in WORKS.values():
            await works(client)

    async def others_work(client: Client) -> None:
        if name in WITHOUT_OPS:
            assert await status_of(client, WITHOUT_OPS[name]) == 404
        else:
            op, fields = ONE_OP[name]
            assert await client.code(op, **fields) == "unknown_op"
        for other in set(WORKS) - {name}:
            await WORKS[other](client)

    with await trio.to_thread.run_sync(start, "--with-trial") as running:
        await with_client(running, all_work)
        assert running.stop() == 0
    with await trio.to_thread.run_sync(start, "--without", name) as running:
        await with_client(running, others_work)
        assert running.get("/readyz")[0] == 200
        assert running.stop() == 0
    with await trio.to_thread.run_sync(start, "--with-trial") as running:
        await with_client(running, all_work)


async def test_a_service_that_is_put_in_has_op_settings_metrics_http_counters_and_the_log(
    tmp_path: Path,
) -> None:
    """Only its messages, its service and its test know of it."""

    async def adds(client: Client) -> None:
        assert (await client.ok("trial.add", amount=3))["total"] == 3
        assert (await client.ok("trial.add", amount=4))["total"] == 7
        assert await client.code("trial.add", amount=6) == "out_of_range"
        assert await client.code("trial.add", amount=0) == "bad_message"
        assert await client.code("trial.clear") == "forbidden"
        assert (await client.ok("trial.add", amount=1))["total"] == 8
        await chats(client)

    with await trio.to_thread.run_sync(
        lambda: Server(tmp_path, "trial.most=5", entry=entry("--with-trial"))
    ) as running:
        await with_client(running, adds)
        assert running.metric("greenroom_trial_started_total") == 1
        assert running.get("/trial/most") == (200, "5")
        for visits in (1.0, 2.0):
            status, text = running.get("/trial/visits")
            assert (status, json.loads(text)) == (200, {"visits": visits, "shared": True})
        status, text = running.get("/trial/events")
        assert (status, "room.posted" in json.loads(text)) == (200, True)
        assert running.stop() == 0
    refused = run("check-config", "--set", "trial.most=5")
    assert (refused.code, "unknown section [trial]" in refused.err) == (3, True)
