"""Sends one POST to a URL that somebody else has named, within bounds."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from typing import Final, NamedTuple

import h11
import trio

from protocol.http.destinations import (
    BadDestination,
    Destination,
    check_address,
    parsed_url,
)
from protocol.server.addresses import Network

MOST_ANSWER_BYTES: Final = 16_384
"""More of an answer is not read; its status is all that counts."""
_READ_BYTES: Final = 4096


class PostOutcome(NamedTuple):
    """What became of a POST. `status`: 0 if there was no answer; `outcome`: it, in words."""

    status: int
    outcome: str

    @property
    def taken(self) -> bool:
        """Whether the receiver has it."""
        return 200 <= self.status < 300


class Poster:
    """Sends POSTs. It follows no redirect, and uses no proxy.

    Arguments:
        networks: those that are reached though they are not public; http is for them alone.
        timeout_s: how long all of one POST may take.
        tls: whom it believes; None: the authorities of the system.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        *,
        timeout_s: float,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._networks = networks
        self._timeout_s = timeout_s
        self._tls = tls

    async def post(self, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> PostOutcome:
        """Send a POST, and return what became of it. It does not raise."""
        try:
            with trio.fail_after(self._timeout_s):
                return await self._post(parsed_url(url), headers, body)
        except trio.TooSlowError:
            return PostOutcome(0, f"no answer within {self._timeout_s:g} s")
        except BadDestination as error:
            return PostOutcome(0, str(error))
        except h11.RemoteProtocolError as error:
            return PostOutcome(0, f"no answer of HTTP: {error}")
        except (OSError, trio.BrokenResourceError) as error:
            return PostOutcome(0, _why(error))

    async def _post(
        self, to: Destination, headers: Sequence[tuple[str, str]], body: bytes
    ) -> PostOutcome:
        stream: trio.abc.Stream = await self._connected(to)
        if to.secure:
            if self._tls is None:  # it reads some hundred certificates
                self._tls = await trio.to_thread.run_sync(ssl.create_default_context)
            stream = trio.SSLStream(
                stream, self._tls, server_hostname=to.host, https_compatible=True
            )
        try:
            return await _exchanged(stream, to, headers, body)
        finally:
            await trio.aclose_forcefully(stream)

    async def _connected(self, to: Destination) -> trio.SocketStream:
        """Connect to an address of the host that may be reached, and to no other."""
        found = await trio.socket.getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM)
        refused: Exception = BadDestination(f"{to.host} has no address")
        for family, kind, protocol, _, address in found:
            try:
                check_address(str(address[0]), secure=to.secure, allowed=self._networks)
            except BadDestination as error:
                refused = error
                continue
            sock = trio.socket.socket(family, kind, protocol)
            try:
                await sock.connect(address)
            except OSError as error:
                sock.close()
                refused = error
                continue
            except BaseException:
                sock.close()
                raise
            return trio.SocketStream(sock)
        raise refused


def _why(error: Exception) -> str:
    for one in (error, error.__cause__):
        if isinstance(one, ssl.SSLError):
            return f"TLS: {one.reason or one}"
    return f"no connection: {getattr(error, 'strerror', None) or 'it broke'}"


async def _exchanged(
    stream: trio.abc.Stream, to: Destination, headers: Sequence[tuple[str, str]], body: bytes
) -> PostOutcome:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST_ANSWER_BYTES)
    request = h11.Request(
        method="POST",
        target=to.target,
        headers=[
            ("host", to.authority),
            ("content-length", str(len(body))),
            ("connection", "close"),
            *headers,
        ],
    )
    sent = (request, h11.Data(data=body), h11.EndOfMessage())
    await stream.send_all(b"".join(connection.send(part) or b"" for part in sent))
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(_READ_BYTES)))
        elif isinstance(event, h11.Response):
            return PostOutcome(event.status_code, f"HTTP {event.status_code}")
        elif isinstance(event, h11.ConnectionClosed):
            return PostOutcome(0, "closed without an answer")
