"""What the command line does beside a server that runs."""

from __future__ import annotations

import json
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
        headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
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
        assert server.stop() == 0
    assert "revoked" in tool(tmp_path, "key", "list").out
