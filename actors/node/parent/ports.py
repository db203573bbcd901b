"""The addresses of several nodes: shared ones for clients and the API, and one each for HTTP."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from actors.node.addresses import CannotListen, bracketed, listening
from actors.node.config import ListenSettings
from protocol.http.api_settings import ApiSettings
from protocol.server.listener import bind, listen
from protocol.server.settings import HttpSettings


class SharedPort:
    """An address, for clients or the API, on which each node has its own sockets (SO_REUSEPORT).

    The kernel spreads new connections over the sockets that listen. The sockets of the first
    processes listen from the start, so that early clients wait in the backlogs of all nodes. Those
    of later processes listen when their node is ready, and close when it ends. So no client comes
    to a node that is not there.

    First the address is taken without SO_REUSEPORT, to find out whether another server of the same
    user has it: with SO_REUSEPORT both would share it, and nobody would notice.

    Arguments:
        settings: the section that has the address.
        nodes: how many nodes have clients. If none has, nothing is listened on.
        section: its name.

    Attributes:
        reserved: sockets that never listen. They keep the port for this server while no node has
            it.

    Raises:
        CannotListen: the address is taken, for example.
    """

    def __init__(
        self, settings: ListenSettings | ApiSettings, nodes: int, section: str = "listen"
    ) -> None:
        self._host = settings.host
        self._first: list[list[socket.socket]] = []
        self.reserved: list[socket.socket] = []
        if not nodes:
            return
        with listening(section, settings.host, settings.port) as alone:
            self.port: int = alone[0].getsockname()[1]
        try:
            self.reserved = bind(self._host, self.port, reuse_port=True)
            for _ in range(nodes):
                self._first.append(listen(self._host, self.port, reuse_port=True))
        except OSError as error:
            self.close()
            where = f"{bracketed(self._host)}:{self.port}"
            raise CannotListen(f"cannot listen on {where}: {error.strerror}") from error

    @contextmanager
    def lent(self) -> Iterator[list[socket.socket]]:
        """Yield sockets for a node that is being started; close this process's copies in the end.

        Raises OSError.
        """
        sockets = self._first.pop(0) if self._first else self._again()
        try:
            yield sockets
        finally:
            _close(sockets)

    def _again(self) -> list[socket.socket]:
        return bind(self._host, self.port, reuse_port=True)

    def close(self) -> None:
        """Close the sockets that no node has taken."""
        for sockets in (self.reserved, *self._first):
            _close(sockets)


@contextmanager
def node_ports(settings: HttpSettings, nodes: int) -> Iterator[list[list[socket.socket]]]:
    """Listen on the ports for HTTP: the parent's, then those of the nodes, which follow it.

    They listen until the server ends: requests to a node that is being restarted wait.

    Raises:
        CannotListen: one is taken, for example.
    """
    if not settings.enabled:
        yield [[] for _ in range(nodes + 1)]
        return
    found: list[list[socket.socket]] = []
    try:
        for number in range(nodes + 1):
            port = settings.port + number if settings.port else 0
            found.append(_listening(settings.host, port))
        yield found
    finally:
        for sockets in found:
            _close(sockets)


def _listening(host: str, port: int) -> list[socket.socket]:
    try:
        return listen(host, port)
    except OSError as error:
        raise CannotListen(
            f"cannot listen on {bracketed(host)}:{port}: {error.strerror};"
            " see [http] port, which the nodes' own follow"
        ) from error


def _close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
