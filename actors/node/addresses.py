"""The addresses that a server listens on, and the line that names them."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from actors.node.config import Config, Loaded
from persistence.stores import Stores
from protocol.server.listener import listen


class CannotListen(Exception):  # noqa: N818 - a state, as in trio.BusyResourceError
    """The server cannot listen on an address. The text is one line."""


@contextmanager
def listening(section: str, host: str, port: int) -> Iterator[list[socket.socket]]:
    """Listen on an address, and close the sockets in the end. Raises `CannotListen`."""
    try:
        sockets = listen(host, port)
    except OSError as error:
        where = f"{bracketed(host)}:{port}"
        raise CannotListen(
            f"cannot listen on {where}: {error.strerror}; see [{section}] host and port"
        ) from error
    try:
        yield sockets
    finally:
        for listener in sockets:
            listener.close()


def banner(
    loaded: Loaded,
    clients: Sequence[socket.socket],
    http: Sequence[socket.socket],
    found: Stores,
    version: str,
    *,
    api: Sequence[socket.socket] = (),
    nodes: int = 1,
) -> str:
    """Return the line that says where everything is."""
    settings = loaded.config
    where = f"clients at {clients_url(settings, clients)}" if clients else "no clients"
    web = f", HTTP at http://{_address(settings.http.host, http)}" if http else ""
    if api:
        secure = "https" if settings.api.tls_certificate else "http"
        web += f", API at {secure}://{_address(settings.api.host, api)}"
    up = "is up" if nodes == 1 else f"is up on {nodes} nodes"
    return f"greenroom {version} {up}: {where}{web}, data in {found.where}"


def clients_url(settings: Config, clients: Sequence[socket.socket]) -> str:
    """Return the address at which clients connect; empty: they cannot."""
    if not clients:
        return ""
    scheme = "wss" if settings.listen.tls_certificate else "ws"
    return f"{scheme}://{_address(settings.listen.host, clients)}{settings.wire.path}"


def ports_of(listeners: Sequence[socket.socket]) -> tuple[int, ...]:
    """Return the ports of sockets, each once."""
    return tuple(dict.fromkeys(one.getsockname()[1] for one in listeners))


def _address(host: str, listeners: Sequence[socket.socket]) -> str:
    return f"{bracketed(host)}:{listeners[0].getsockname()[1]}"


def bracketed(host: str) -> str:
    """Return a host as it stands in an address; all hosts are "*"."""
    return f"[{host}]" if ":" in host else host or "*"
