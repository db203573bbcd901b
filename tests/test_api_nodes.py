"""The HTTP API of a server of two nodes, over the wire: what one node does holds on the other."""

from __future__ import annotations

import re
import secrets
import socket
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.server_process import Server
from tests.test_beside import call, tool

PATIENCE_S = 60.0
MANY = 24
"""So many new connections reach both nodes, but for one time in millions."""


def free_ports(count: int) -> int:
    """Return the first of so many free ports that follow one another."""
    while True:
        with ExitStack() as stack:
            first = stack.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                for number in range(1, count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port + number))
            except (OSError, OverflowError):
                continue
            return port


def answered(port: int) -> int:
    """How many requests of the HTTP API a node has answered, by its own metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as page:
        text = page.read().decode()
    found = re.findall(r"^greenroom_api_requests_total{.*} (\S+)$", text, re.MULTILINE)
    return sum(int(float(value)) for value in found)


def until_all(ask: Callable[[], int], status: int) -> None:
    """Wait until so many new connections in a row are all answered like this."""
    deadline = time.monotonic() + PATIENCE_S
    while not all(ask() == status for _ in range(MANY)):
        assert time.monotonic() < deadline


def test_what_one_node_of_two_does_holds_on_the_other(tmp_path: Path) -> None:
    port = free_ports(3)
    with Server(tmp_path, "server.nodes=2", f"http.port={port}") as server:
        made = tool(tmp_path, "key", "create", "shop", "--scope", "*", "--role", "operator")
        key = made.out.strip()

        def ask(method: str, path: str, body: Any = None, token: str = key) -> tuple[int, Any]:
            return call(server, method, path, token, body)

        until_all(lambda: ask("POST", "/v1/rpc/ping")[0], 200)
        assert answered(port + 1) > 0
        assert answered(port + 2) > 0

        # A retry with one key acts once, whichever node it comes to.
        write = {
            "objects": [{"collection": "c", "key": "k", "value": "[1]"}],
            "key": secrets.token_hex(8),
        }
        versions = {str(ask("POST", "/v1/rpc/storage.write", write)[1]) for _ in range(MANY)}
        assert len(versions) == 1

        # A match that one node made is listed by both, and made once.
        create = {"game": "tictactoe", "key": secrets.token_hex(8)}
        matches = {ask("POST", "/v1/rpc/match.create", create)[1]["match"] for _ in range(MANY)}
        (match,) = matches
        for _ in range(MANY):
            listed = ask("POST", "/v1/rpc/match.list", {})[1]["matches"]
            assert match in {one["match"] for one in listed}

        # A sign-in that is ended is ended everywhere, and a token is refreshed anywhere.
        player = ask("POST", "/v1/sign-in/guest", {"name": "Ada"}, "")[1]
        for _ in range(4):
            given = {"refresh_token": player["refresh_token"]}
            player = ask("POST", "/v1/refresh", given, "")[1]
        token = player["access_token"]
        until_all(lambda: ask("POST", "/v1/rpc/ping", token=token)[0], 200)
        assert ask("DELETE", "/v1/sign-ins", token=token)[0] == 204
        until_all(lambda: ask("POST", "/v1/rpc/ping", token=token)[0], 401)

        # A key that is made by one node is known to both, and so is its end.
        new = {"name": "other", "scopes": ["ping"]}
        other = ask("POST", "/v1/keys", new)[1]
        until_all(lambda: ask("POST", "/v1/rpc/ping", token=other["key"])[0], 200)
        assert ask("DELETE", f"/v1/keys/{other['made']['id']}")[0] == 204
        until_all(lambda: ask("POST", "/v1/rpc/ping", token=other["key"])[0], 401)
        assert server.stop() == 0
