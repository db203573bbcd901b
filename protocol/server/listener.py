"""Listening sockets, and accepting from them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

import structlog
import trio

from protocol.server.addresses import UNIX

log = structlog.get_logger("protocol.server.listener")

Take = Callable[[socket.socket, str], None]

_TURN = 64  # accepts between two checkpoints
_BACK_OFF_S: Final = 0.1  # trio's own listener waits as long
_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_ALL = ("", "::")
_NO_SUCH_FAMILY = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}
_CLOSED = {errno.EBADF, errno.EINVAL, errno.ENOTSOCK}


BACKLOG: Final = 1024
"""Connections that the kernel holds for a socket until they are accepted."""


def listen(host: str, port: int, *, reuse_port: bool = False) -> list[socket.socket]:
    """Return non-blocking listening sockets for every address of `host`.

    Arguments and errors are those of `bind`.
    """
    sockets = bind(host, port, reuse_port=reuse_port)
    try:
        for sock in sockets:
            sock.listen(BACKLOG)
    except OSError as error:
        _close(sockets)
        error.filename = f"{host or '*'}:{port}"
        raise
    return sockets


def bind(host: str, port: int, *, reuse_port: bool = False) -> list[socket.socket]:
    """Return non-blocking sockets for every address of `host`, which do not listen yet.

    Args:
        host: a name or an address; empty or "::": all addresses, IPv4 and IPv6. The machine may
            lack one of the two.
        port: 0 lets the system choose, the same one for all addresses.
        reuse_port: let several sockets listen on one port (SO_REUSEPORT), also those of other
            processes of this user. The kernel spreads connections over those that listen.

    Raises:
        OSError: no such host, or the port is taken or not allowed. `filename` says host:port.
    """
    sockets: list[socket.socket] = []
    everywhere = host in _ALL
    missing: OSError | None = None
    try:
        for family, kind, proto, _, found in socket.getaddrinfo(
            None if everywhere else host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            chosen = sockets[0].getsockname()[1] if sockets else port
            try:
                sock = _bound(family, kind, proto, (found[0], chosen, *found[2:]), reuse_port)
            except OSError as error:
                if not everywhere or error.errno not in _NO_SUCH_FAMILY:
                    raise
                missing = error
                continue
            sockets.append(sock)
        if not sockets and missing is not None:
            raise missing
    except OSError as error:
        _close(sockets)
        error.filename = f"{host or '*'}:{port}"
        raise
    return sockets


def _close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _bound(
    family: int, kind: int, proto: int, address: tuple[object, ...], reuse_port: bool
) -> socket.socket:
    sock = socket.socket(family, kind, proto)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:  # IPv4 has a socket of its own
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def close_listeners(listeners: Iterable[socket.socket]) -> None:
    """Close those that are still open; `accept_from` returns for each."""
    for listener in listeners:
        if listener.fileno() >= 0:
            trio.lowlevel.notify_closing(listener)
            listener.close()


async def accept_from(listener: socket.socket, take: Take) -> None:
    """Call `take` with each connection's socket (non-blocking, TCP_NODELAY) and its peer's address.

    It returns when `listener` is closed. If the process has no more file descriptors, it logs that
    and waits. An error of one connection ends only that connection.
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
        _hand_on(sock, address, take)
        count += 1
        if count % _TURN == 0:
            await trio.lowlevel.checkpoint()


def accept_rest(listener: socket.socket, take: Take) -> None:
    """Call `take` with each connection that waits to be accepted, as before `listener` is closed.

    The kernel resets those that still wait when a listener is closed.
    """
    while True:
        try:
            sock, address = listener.accept()
        except OSError:  # there are no more, as a rule
            return
        _hand_on(sock, address, take)


def _hand_on(sock: socket.socket, address: Any, take: Take) -> None:
    try:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        sock.close()
    else:
        take(sock, UNIX if sock.family == socket.AF_UNIX else f"{address[0]}:{address[1]}")
