"""What the command line does beside a server that runs."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from actors.node.exits import Exit
from persistence import PostgresSettings
from persistence.embedded import EmbeddedServers
from persistence.postgres.connection import run_once
from tests.server_process import Ended, Server, run


def tool(folder: Path, *arguments: str) -> Ended:
    return run(*arguments, "--set", f"server.data_dir={folder}")


def call(server: Server, method: str, path: str, token: str, body: Any = None) -> tuple[int, Any]:
    """Ask the HTTP API; returns the status and the body."""
    request = urllib.request.Request(
        server.api + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"content-type": "application/json"}
        | ({"authorization": f"Bearer {token}"} if token else {}),
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_keys_are_made_and_revoked_beside_a_running_server_and_without_one(tmp_path: Path) -> None:
    before = tool(tmp_path, "key", "create", "early", "--scope", "*")
    assert (before.code, before.out[:3]) == (0, "gk_"), before.err
    with Server(tmp_path, "log.level=debug") as server:
        made = tool(tmp_path, "key", "create", "shop", "--scope", "ping", "--role", "operator")
        assert made.code == 0, made.err
        key = made.out.strip()
        for one in (key, before.out.strip()):
            assert call(server, "POST", "/v1/rpc/ping", one)[0] == 200
        wrong = tool(tmp_path, "key", "create", "shop", "--scope", "pings")
        assert (wrong.code, wrong.out) == (Exit.FAILED, "")
        assert wrong.err.startswith(
            "greenroom: no op, route or area is called 'pings'; perhaps ping"
        )
        id_ = key.split("_")[1]
        assert id_ in tool(tmp_path, "key", "list").out
        assert tool(tmp_path, "key", "revoke", id_).out == f"revoked: {id_} shop\n"
        while call(server, "POST", "/v1/rpc/ping", key)[0] != 401:
            pass
        secrets = becomes_an_owner(server, tmp_path)
        assert server.stop() == 0
    leaves_no_secret(server, tmp_path, {key, before.out.strip(), *secrets})
    assert "revoked" in tool(tmp_path, "key", "list").out


def becomes_an_owner(server: Server, folder: Path) -> set[str]:
    """By the secret that a new database is greeted with, and by one of the command.

    Returns every secret that was used, and those that were shown.
    """
    printed = tool(folder, "owner")
    assert printed.code == 0, printed.err
    secrets = [*re.findall(r"gro_\S+", server.out[1]), printed.out.strip()]
    used, statuses, player = set(secrets), [], {}
    for number, secret in enumerate(secrets):
        device = {"name": "Ada", "device": f"a-device-that-nobody-knows-{number}"}
        player = call(server, "POST", "/v1/sign-in/device", "", device)[1]
        used |= {device["device"], player["access_token"], player["refresh_token"]}
        token = player["access_token"]
        statuses.append(call(server, "POST", "/v1/owner", token, {"secret": secret})[0])
    assert statuses == [401, 204]  # a newer one makes the first void
    refresh = {"refresh_token": player["refresh_token"]}
    player = call(server, "POST", "/v1/refresh", "", refresh)[1]
    token = player["access_token"]
    new = {"url": "https://example.com/hook", "events": ["match.ended"]}
    hook = call(server, "POST", "/v1/webhooks", token, new)[1]
    assert call(server, "POST", "/v1/refresh", "", refresh)[0] == 401  # used before: signed out
    assert call(server, "GET", "/v1/keys", "gk_0000000000000000_" + "wrong" * 9)[0] == 401
    return used | {token, player["refresh_token"], hook["secret"], "wrong" * 9}


def leaves_no_secret(server: Server, folder: Path, secrets: set[str]) -> None:
    """Neither what the server said, nor the logs of its stores, nor the audit log has one."""
    with EmbeddedServers(folder) as stores:
        postgres = PostgresSettings(url=stores.postgres_url)
        audit = run_once(postgres, "SELECT a::text FROM {schema}.audit AS a")
        rows = [row for (row,) in audit]
    for what in ("key.made", "key.revoked", "owner.secret_made", "role.given", "account.signed_in",
                 "account.signed_out", "webhook.made", "bad_token"):  # fmt: skip
        assert any(what in row for row in rows), (what, rows)
    said = "\n".join([*server.err, *server.out[2:], *rows])
    said += "\n".join(path.read_text() for path in folder.glob("*.log"))
    assert len(said) > 1000
    for secret in secrets:
        parts = secret.split("_")
        assert secret not in said
        assert parts[-1] not in said, secret
