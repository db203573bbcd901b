"""Listening sockets, and accepting from them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Final

import structlog
import trio

log = structlog.get_logger("protocol.listener")

_TURN = 64  # accepts between two checkpoints
_BACK_OFF_S: Final = 0.1  # trio's own listener waits as long
_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_CLOSED = {errno.EBADF, errno.EINVAL, errno.ENOTSOCK}


def listen(
    host: str, port: int, *, backlog: int = 1024, reuse_port: bool = False
) -> list[socket.socket]:
    """Non-blocking listening sockets for every address `host` has.

    Args:
        host: a name or an address; empty: all addresses, IPv4 and IPv6.
        port: 0 lets the system choose, the same one for all addresses.
        backlog: connections the kernel holds until they are accepted.
        reuse_port: let several processes listen on one port (SO_REUSEPORT); the kernel spreads
            connections over them.

    Raises:
        OSError: no such host, or the port is taken or not allowed. `filename` says host:port.
    """
    listeners: list[socket.socket] = []
    try:
        for family, kind, proto, _, found in socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            chosen = listeners[0].getsockname()[1] if listeners else port
            address = (found[0], chosen, *found[2:])
            sock = socket.socket(family, kind, proto)
            listeners.append(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.listen(backlog)
    except OSError as error:
        for sock in listeners:
            sock.close()
        error.filename = f"{host or '*'}:{port}"
        raise
    return listeners


async def accept_from(listener: socket.socket, take: Callable[[socket.socket, str], None]) -> None:
    """Give `take` every connection's socket (non-blocking, TCP_NODELAY) and its peer's address.

    Returns when `listener` is closed. Running out of file descriptors is logged and waited out; an
    error of one connection is that connection's.
    """
    count = 0
    while True:
        try:
            sock, address = listener.accept()
        except BlockingIOError:
            try:
                await trio.lowlevel.wait_readable(listener)
            except trio.ClosedResourceError:
                return
            continue
        except OSError as error:
            if error.errno in _CLOSED:
                return
            if error.errno in _OUT_OF_RESOURCES:
                log.error("cannot accept", error=str(error), retry_in_s=_BACK_OFF_S)
                await trio.sleep(_BACK_OFF_S)
            else:  # the client went away before it was accepted
                await trio.lowlevel.checkpoint()
            continue
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            sock.close()
        else:
            take(sock, f"{address[0]}:{address[1]}")
        count += 1
        if count % _TURN == 0:
            await trio.lowlevel.checkpoint()
