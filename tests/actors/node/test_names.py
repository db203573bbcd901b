"""The names of nodes are such that a dot can follow."""

from __future__ import annotations

import re
import socket

import pytest

from actors.node.names import node_names


def test_nodes_are_numbered() -> None:
    assert node_names("web", 3) == ["web-1", "web-2", "web-3"]


@pytest.mark.parametrize("host", ["db1.example.com", "größe", "", ".", "a" * 64, "my host"])
def test_without_a_name_they_are_called_as_the_machine(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    (name,) = node_names("", 1)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,40}-1", name)
