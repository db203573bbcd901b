"""One connection of the HTTP API: reads requests one after the other, and sends the answers.

h11 does the protocol: a state machine without I/O, which refuses everything that is not HTTP/1.1.
This module adds what h11 leaves to its user: how long each part may take, how large a body may be,
and how to end a connection so that the client can read why.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from functools import lru_cache
from typing import Final

import h11
import structlog
import trio

from protocol.errors import (
    BAD_MESSAGE,
    BODY_TOO_BIG,
    HEAD_TOO_BIG,
    INTERNAL,
    TIMEOUT,
    TOO_SLOW,
    RequestError,
)
from protocol.http.api_settings import ApiSettings
from protocol.http.exchange import HttpRequest, HttpResponse, refused
from protocol.server.addresses import Addresses

Handle = Callable[[HttpRequest], Awaitable[HttpResponse]]

READ_BYTES: Final = 65_536
_LINGER_S: Final = 1.0
"""How long a refused client may go on sending. It reads the refusal meanwhile."""
_LINGER_BYTES: Final = 4_194_304
_HEAD_ERROR: Final = 431
_LINE_BYTES: Final = 4
"""The bytes of a header line beside its name and its value: a colon, a space and the line's end."""
_ALWAYS: Final = (("cache-control", "no-store"), ("x-content-type-options", "nosniff"))

log = structlog.get_logger("protocol.http.connection")


class _Over(Exception):  # noqa: N818 - the way out of a request
    """The request cannot be served, and neither can what follows it on this connection."""

    def __init__(self, response: HttpResponse | None) -> None:
        super().__init__()
        self.response = response


class HttpConnection:
    """Serves one client.

    Arguments:
        stream: the connection, TLS included. The caller closes it.
        peer: the address of its other end.
        addresses: finds the client's address behind a proxy.
        settings: the bounds.
        handle: answers a request.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        peer: str,
        addresses: Addresses,
        settings: ApiSettings,
        handle: Handle,
    ) -> None:
        self._stream = stream
        self._host = peer
        self._proxied = addresses.trusts(peer)
        self._addresses = addresses
        self._settings = settings
        self._handle = handle
        self._wire = h11.Connection(h11.SERVER, max_incomplete_event_size=settings.max_head_bytes)
        self._scope = trio.CancelScope()
        self._idle = True
        self._draining = False

    def drain(self) -> None:
        """Close the connection now if it is idle, and else after the answer that is under way."""
        self._draining = True
        if self._idle:
            self._scope.cancel()

    async def run(self) -> None:
        """Serve until the client closes, takes too long, or sends something that is not HTTP."""
        try:
            with self._scope:
                self._limit(self._settings.head_timeout_s)
                while await self._serve_one():
                    self._wire.start_next_cycle()
            if self._scope.cancelled_caught and not self._idle:
                await self._farewell(refused(RequestError(TOO_SLOW)))
        except _Over as over:
            await self._farewell(over.response)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass  # the client is gone

    def _limit(self, seconds: float) -> None:
        self._scope.deadline = trio.current_time() + seconds

    # --- requests --------------------------------------------------------------------------------

    async def _serve_one(self) -> bool:
        """Answer one request; returns whether another may follow."""
        head = await self._next()
        if not isinstance(head, h11.Request):
            return False  # the client has closed
        request = await self._read(head)
        self._scope.deadline = math.inf
        with trio.move_on_after(self._settings.answer_timeout_s) as waiting:
            response = await self._answer(request)
        if waiting.cancelled_caught:
            response = refused(RequestError(TIMEOUT))
        self._limit(self._settings.send_timeout_s)
        await self._send(response, bodiless=request.method == "HEAD")
        if self._wire.our_state is not h11.DONE or self._wire.their_state is not h11.DONE:
            return False
        self._idle = not self._wire.trailing_data[0]
        self._limit(self._settings.idle_timeout_s if self._idle else self._settings.head_timeout_s)
        return not (self._draining and self._idle)

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        try:
            return await self._handle(request)
        except Exception:
            log.exception("request failed", method=request.method, path=request.path)
            return refused(RequestError(INTERNAL))

    async def _read(self, head: h11.Request) -> HttpRequest:
        headers: dict[str, str] = {}
        size = len(head.target)
        for raw_name, raw_value in head.headers:
            size += len(raw_name) + len(raw_value) + _LINE_BYTES
            name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        if size > self._settings.max_head_bytes:  # h11 checks only heads that are incomplete
            raise _Over(refused(RequestError(HEAD_TOO_BIG)))
        if "transfer-encoding" in headers and "content-length" in headers:
            # A proxy and this server could disagree where the request ends (RFC 9112, section 6.1).
            raise self._malformed("both transfer-encoding and content-length")
        target = _origin_form(head.target.decode("ascii"))
        if target is None:
            raise self._malformed("the target of the request is no path")
        path, _, query = target.partition("?")
        address = self._address(headers)
        return HttpRequest(
            method=head.method.decode("ascii"),
            path=path,
            query=query.partition("#")[0],
            headers=headers,
            body=await self._body(headers),
            address=address,
            peer=address or self._host,
        )

    async def _body(self, headers: dict[str, str]) -> bytes:
        most = self._settings.max_body_bytes
        announced = headers.get("content-length", "0")
        if len(announced) > 18 or int(announced) > most:  # h11 has checked that it is digits
            raise self._too_big()
        self._limit(self._settings.body_timeout_s)
        parts: list[bytes] = []
        size = 0
        while isinstance(event := await self._next(), h11.Data):
            size += len(event.data)
            if size > most:
                raise self._too_big()
            parts.append(bytes(event.data))
        if not isinstance(event, h11.EndOfMessage):
            raise _Over(None)
        return b"".join(parts)

    def _address(self, headers: dict[str, str]) -> str | None:
        if not self._proxied:
            return self._addresses.own(self._host)
        return self._addresses.named_in(headers)

    async def _next(self) -> object:
        """Return the next event of the protocol, after reading as much as that takes."""
        wire = self._wire
        while True:
            try:
                event = wire.next_event()
                if event is not h11.NEED_DATA:
                    return event
                if wire.they_are_waiting_for_100_continue:
                    await self._write(
                        wire.send(h11.InformationalResponse(status_code=100, headers=[]))
                    )
                data = await self._stream.receive_some(READ_BYTES)
                if self._idle and data:
                    self._idle = False
                    self._limit(self._settings.head_timeout_s)
                wire.receive_data(bytes(data))
            except h11.RemoteProtocolError as error:
                raise self._unreadable(error) from None

    def _unreadable(self, error: h11.RemoteProtocolError) -> _Over:
        status = error.error_status_hint
        row = HEAD_TOO_BIG if status == _HEAD_ERROR else BAD_MESSAGE
        return _Over(refused(RequestError(row, "it is no HTTP/1.1"), status))

    def _malformed(self, why: str) -> _Over:
        return _Over(refused(RequestError(BAD_MESSAGE, why)))

    def _too_big(self) -> _Over:
        most = self._settings.max_body_bytes
        return _Over(refused(RequestError(BODY_TOO_BIG, f"at most {most} bytes")))

    # --- answers ---------------------------------------------------------------------------------

    async def _send(self, response: HttpResponse, *, bodiless: bool = False) -> None:
        wire = self._wire
        headers: list[tuple[str, str]] = [
            ("date", _date(int(time.time()))),
            *_ALWAYS,
            *response.headers,
        ]
        if response.status not in (204, 304):
            headers.append(("content-length", str(len(response.body))))
        if self._draining:
            headers.append(("connection", "close"))
        head = wire.send(h11.Response(status_code=response.status, headers=headers))
        body = b"" if bodiless or not response.body else wire.send(h11.Data(data=response.body))
        end = wire.send(h11.EndOfMessage())
        await self._write(b"".join(part for part in (head, body, end) if part))

    async def _write(self, data: bytes | None) -> None:
        if data:
            await self._stream.send_all(data)

    async def _farewell(self, response: HttpResponse | None) -> None:
        """Send a refusal, and give the client time to read it.

        If a socket is closed while bytes from the client wait in it unread, the connection is
        reset, and the client may lose the answer. So they are read first.
        """
        if response is None or self._wire.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        self._draining = True
        with trio.move_on_after(_LINGER_S):
            try:
                await self._send(response)
                if isinstance(self._stream, trio.SocketStream):
                    await self._stream.send_eof()
                left = _LINGER_BYTES
                while left > 0 and (data := await self._stream.receive_some(READ_BYTES)):
                    left -= len(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
                pass


def _origin_form(target: str) -> str | None:
    """Return the path of a target; None: it has none.

    A target may also name scheme and host, and servers must take that (RFC 9112, section 3.2.2).
    """
    if target.startswith("/"):
        return target
    for scheme in ("http://", "https://"):
        if target.lower().startswith(scheme):
            _, slash, path = target[len(scheme) :].partition("/")
            return f"/{path}" if slash else "/"
    return None


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
