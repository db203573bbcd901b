"""One port for the clients of all nodes, and one each for HTTP."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from actors.node.addresses import CannotListen
from actors.node.config import ListenSettings
from actors.node.parent.ports import SharedPort, node_ports
from protocol.server.listener import BACKLOG, listen
from protocol.server.settings import HttpSettings


@contextmanager
def shared(nodes: int, host: str = "127.0.0.1", port: int = 0) -> Iterator[SharedPort]:
    found = SharedPort(ListenSettings(host=host, port=port), nodes)
    try:
        yield found
    finally:
        found.close()


def connects(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port)).close()
    except ConnectionRefusedError:
        return False
    return True


def test_early_clients_wait_for_all_nodes_and_later_ones_only_for_those_that_listen() -> None:
    with shared(2) as port:
        assert connects(port.port)
        with port.lent() as first, port.lent() as second:
            assert connects(port.port)
            assert {one.getsockname()[1] for one in (*first, *second)} == {port.port}
        assert not connects(port.port), "no node has them"
        with port.lent() as again:
            assert not connects(port.port), "its node is not ready"
            for one in again:
                one.listen(BACKLOG)
            assert connects(port.port)


def test_a_node_inherits_what_its_parent_closes() -> None:
    with shared(1) as port:
        with port.lent() as lent:
            inherited = [one.dup() for one in lent]
        assert connects(port.port)
        for one in inherited:
            one.close()
        assert not connects(port.port)


def test_a_second_server_is_told_before_its_nodes_start() -> None:
    """SO_REUSEPORT lets sockets of one user share a port, also those of two servers."""
    with shared(2) as port:
        with pytest.raises(CannotListen, match=r"Address already in use; see \[listen\]"):
            SharedPort(ListenSettings(host="127.0.0.1", port=port.port), 2)
        with pytest.raises(OSError, match="in use"):
            listen("127.0.0.1", port.port)


def test_the_port_stays_this_servers_while_no_node_listens() -> None:
    with shared(1) as port:
        with port.lent():
            pass
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port.port))


def test_all_addresses_of_the_machine_are_one_port() -> None:
    with shared(2, host="::") as port, port.lent() as lent:
        assert {one.getsockname()[1] for one in lent} == {port.port}
        assert connects(port.port)


def neighbours(count: int) -> int:
    """Find so many free ports in a row; returns the first."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port: int = first.getsockname()[1]
            try:
                for number in range(1, count):
                    listen("127.0.0.1", port + number)[0].close()
            except (OSError, OverflowError):
                continue
            return port


def test_the_nodes_ports_for_http_follow_the_parents() -> None:
    first = neighbours(3)
    with node_ports(HttpSettings(port=first + 1), 1) as found:
        assert [sockets[0].getsockname()[1] for sockets in found] == [first + 1, first + 2]
        with pytest.raises(CannotListen, match=r"in use; see \[http\] port, which the nodes'"):
            node_ports(HttpSettings(port=first), 2).__enter__()


def test_http_may_take_any_ports_or_none() -> None:
    with node_ports(HttpSettings(port=0), 3) as found:
        assert len({one.getsockname()[1] for sockets in found for one in sockets}) == 4
    with node_ports(HttpSettings(enabled=False), 3) as found:
        assert found == [[], [], [], []]
