"""TLS for clients: an `ssl.SSLSocket` in place of the socket, non-blocking as well."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import trio


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return a context that serves `certificate` (PEM, with its chain) with its `key` (PEM).

    Raises:
        OSError: a file cannot be read.
        ssl.SSLError: a file is not a certificate or a key, or the two do not match.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    # With renegotiation a send could have to wait for a read.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])  # a browser that chose h2 could not upgrade
    return context


async def handshake(sock: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Wrap `sock`, which must be connected and non-blocking, and do the server's handshake.

    Raises:
        OSError: the handshake failed (mostly ssl.SSLError), and the socket is closed.
    """
    wrapped = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
    try:
        while True:
            try:
                wrapped.do_handshake()
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(wrapped)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(wrapped)
            else:
                return wrapped
    except BaseException:
        trio.lowlevel.notify_closing(wrapped)
        wrapped.close()
        raise
