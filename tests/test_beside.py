"""What the command line does beside a server that runs."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from actors.node.exits import Exit
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
    with Server(tmp_path) as server:
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
        becomes_an_owner(server, tmp_path)
        assert server.stop() == 0
    assert "revoked" in tool(tmp_path, "key", "list").out


def becomes_an_owner(server: Server, folder: Path) -> None:
    """By the secret that a new database is greeted with, and by one of the command."""
    printed = tool(folder, "owner")
    assert printed.code == 0, printed.err
    secrets = [*re.findall(r"gro_\S+", server.out[1]), printed.out.strip()]
    statuses, player = [], {}
    for secret in secrets:
        player = call(server, "POST", "/v1/sign-in/guest", "", {"name": "Ada"})[1]
        token = player["access_token"]
        statuses.append(call(server, "POST", "/v1/owner", token, {"secret": secret})[0])
    assert statuses == [401, 204]  # a newer one makes the first void
    refresh = {"refresh_token": player["refresh_token"]}
    token = call(server, "POST", "/v1/refresh", "", refresh)[1]["access_token"]
    listed = call(server, "POST", "/v1/rpc/audit.list", token, {"what": "owner.*"})[1]["entries"]
    assert [one["what"] for one in listed] == ["owner.secret_made"]
    said = "\n".join((*server.err, *server.out[2:]))
    assert not any(secret in said for secret in secrets)
