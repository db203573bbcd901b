"""One connection to the server: TCP, TLS, the WebSocket handshake, and messages in and out.

trio-websocket implements the protocol. This module adds errors that name the cause, a handshake
that ends when the server hangs up, and the time of the last byte received.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec
import trio
import trio_websocket

from protocol.codec import Encoding
from protocol.errors import CloseCode
from protocol.messages import EVERY_OP, AnyServerMessage
from protocol.remote.errors import CannotConnect, ClientError, close_row

NOBODY_LISTENS = "connection refused"
"""`CannotConnect.why` if the machine answers that there is no server at that port."""

_NO_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL"}
"""OpenSSL's reasons if the server answers with text in place of TLS, for example HTTP's 400."""

QUEUED_MESSAGES = 256
"""Messages that wait behind the socket's reader. Beyond it the socket is not read from."""


class LinkClosed(Exception):  # noqa: N818 - a state, as in trio.ClosedResourceError
    """The connection has ended. `close`: its row of the table of closes, which says what to do."""

    def __init__(self, close: CloseCode, reason: str) -> None:
        super().__init__(close, reason)
        self.close = close
        self.reason = reason

    def __str__(self) -> str:
        if self.close.code == 1006:  # no close frame: there is no more to say
            return "the connection broke"
        # Greenroom's own closes have their name as the reason.
        reason = f" ({self.reason})" if self.reason not in {"", self.close.name} else ""
        return f"closed with {self.close.code} {self.close.name}{reason}: {self.close.advice}"


class Endpoint(msgspec.Struct, frozen=True):
    """The address of a server, and how to connect to it."""

    url: str
    encoding: Encoding
    tls: ssl.SSLContext | None
    """For wss://; None: the system's certificates."""
    timeout_s: float
    """For everything up to the end of the WebSocket handshake, in seconds."""
    close_timeout_s: float
    """For the closing handshake, in seconds."""
    max_message_bytes: int
    """The longest message accepted; a longer one closes the connection with `too_big`."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"ws", "wss"} or not parts.hostname:
            raise ValueError(f"not a WebSocket address: {self.url!r} (ws://host:port/path)")
        if self.tls is not None and parts.scheme == "ws":
            raise ValueError(f"a TLS context is given, but the address is not wss: {self.url!r}")


class Link:
    """An open connection. One task may read messages, and one task may send them."""

    def __init__(
        self, websocket: trio_websocket.WebSocketConnection, stream: _Heard, encoding: Encoding
    ) -> None:
        self._websocket = websocket
        self._stream = stream
        self._encoding = encoding
        self.ignored = 0
        """How many messages had an op that this client does not know, from a newer server."""

    async def send(self, payload: bytes) -> None:
        """Send one encoded message. Raises `LinkClosed`.

        Cancel it only to end the connection, because half a frame may have been sent.
        """
        text = self._encoding.name == "json"
        try:
            await self._websocket.send_message(payload.decode() if text else payload)
        except trio_websocket.ConnectionClosed as closed:
            raise _link_closed(closed) from None

    async def receive(self) -> AnyServerMessage:
        """Return the next message.

        Raises:
            LinkClosed: there is no further message.
            ClientError: the bytes are no message of this protocol.
        """
        while True:
            try:
                data = await self._websocket.get_message()
            except trio_websocket.ConnectionClosed as closed:
                raise _link_closed(closed) from None
            try:
                return self._encoding.decode_server(data)
            except ValueError as error:
                if not self._is_unknown(data):
                    raise ClientError(f"the server sent what is no message: {error}") from None
                self.ignored += 1

    async def watch_silence(self, limit_s: float) -> None:
        """Cut the connection once no byte has come for `limit_s` seconds, and return.

        The server sends pings, so a working connection is never silent for long.
        """
        while (quiet_s := trio.current_time() - self._stream.heard_at) < limit_s:
            await trio.sleep(limit_s - quiet_s)
        await trio.aclose_forcefully(self._stream)

    def _is_unknown(self, data: bytes | str) -> bool:
        """Whether the bytes are a message with an op that this client does not know."""
        decode: Any = (
            msgspec.json.decode if self._encoding.name == "json" else msgspec.msgpack.decode
        )
        try:
            message: Any = decode(data)
        except (ValueError, RecursionError):
            return False
        op = message.get("op") if isinstance(message, dict) else None
        return isinstance(op, str) and op not in EVERY_OP.pushes and op not in {"ok", "error"}


class _Heard(trio.abc.Stream):
    """A stream that notes the time of the last byte received, and the end."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.heard_at = trio.current_time()
        self.ended = trio.Event()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._stream.receive_some(max_bytes)
        except BaseException:
            self.ended.set()
            raise
        self.heard_at = trio.current_time()
        if not data:
            self.ended.set()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def carrying_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery that raises the body's exception as it is, not in a group.

    Its tasks are cancelled when the body ends.
    """
    raised: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except Exception as error:
                raised = error
            finally:
                nursery.cancel_scope.cancel()
    finally:
        if raised is not None:
            raise raised


@asynccontextmanager
async def open_link(endpoint: Endpoint) -> AsyncIterator[Link]:
    """Connect; yield the link; close it.

    Raises:
        CannotConnect: the connection failed.
    """
    stream = _Heard(await _open_stream(endpoint))
    try:
        async with carrying_nursery() as nursery:
            websocket = await _handshake(nursery, stream, endpoint)
            try:
                yield Link(websocket, stream, endpoint.encoding)
            finally:
                with trio.move_on_after(endpoint.close_timeout_s):
                    await websocket.aclose()
    except BaseExceptionGroup as group:
        rejected, others = group.split(trio_websocket.ConnectionRejected)
        if rejected is None or others is not None:
            raise
        raise _refused(endpoint, rejected) from None
    finally:
        await trio.aclose_forcefully(stream)


async def _open_stream(endpoint: Endpoint) -> trio.abc.Stream:
    parts = urlsplit(endpoint.url)
    host, secure = str(parts.hostname), parts.scheme == "wss"
    connected = False
    try:
        with trio.fail_after(endpoint.timeout_s):
            tcp = await trio.open_tcp_stream(host, parts.port or (443 if secure else 80))
            connected = True
            if not secure:
                return tcp
            context = endpoint.tls or ssl.create_default_context()
            # https_compatible: servers hang up without TLS's own close; WebSocket has its own.
            tls = trio.SSLStream(tcp, context, server_hostname=host, https_compatible=True)
            try:
                await tls.do_handshake()
            except BaseException:
                await trio.aclose_forcefully(tcp)
                raise
            return tls
    except trio.TooSlowError:
        why = f"no answer within {endpoint.timeout_s:g} s"
        if connected:  # a server without TLS waits for the rest of a request
            why = f"{why} to the beginning of TLS; is it ws:// there?"
        raise CannotConnect(endpoint.url, why) from None
    except (OSError, trio.BrokenResourceError) as error:
        why, permanent = _what_went_wrong(error)
        raise CannotConnect(endpoint.url, why, permanent=permanent) from error


async def _handshake(
    nursery: trio.Nursery, stream: _Heard, endpoint: Endpoint
) -> trio_websocket.WebSocketConnection:
    parts = urlsplit(endpoint.url)
    resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    websocket: trio_websocket.WebSocketConnection | None = None

    async def give_up_at_the_end(scope: trio.CancelScope) -> None:
        # trio-websocket itself would wait for an answer that cannot come any more.
        await stream.ended.wait()
        scope.cancel()

    with trio.move_on_after(endpoint.timeout_s) as limit:
        async with trio.open_nursery() as race:
            race.start_soon(give_up_at_the_end, limit)
            websocket = await trio_websocket.wrap_client_stream(
                nursery,
                cast("trio.SocketStream", stream),  # any Stream does; its hint is too narrow
                parts.netloc.rpartition("@")[2],
                resource,
                subprotocols=[endpoint.encoding.subprotocol],
                message_queue_size=QUEUED_MESSAGES,
                max_message_size=endpoint.max_message_bytes,
            )
            race.cancel_scope.cancel()
    if websocket is None:
        hung_up = stream.ended.is_set()
        why = "the server hung up" if hung_up else f"no answer within {endpoint.timeout_s:g} s"
        hint = "; is it wss:// there?" if hung_up and parts.scheme == "ws" else ""
        raise CannotConnect(endpoint.url, f"{why} during the WebSocket handshake{hint}")
    if websocket.subprotocol != endpoint.encoding.subprotocol:
        why = f"the server does not speak {endpoint.encoding.subprotocol}"
        raise CannotConnect(endpoint.url, why, permanent=True)
    return websocket


def _refused(endpoint: Endpoint, group: BaseExceptionGroup[BaseException]) -> CannotConnect:
    rejection: BaseException = group
    while isinstance(rejection, BaseExceptionGroup):
        rejection = rejection.exceptions[0]
    status = getattr(rejection, "status_code", 0)
    body = (getattr(rejection, "body", None) or b"").decode("utf-8", "replace").strip()
    # Another attempt may succeed after 408, 429 and 5xx, but after no other status.
    permanent = status < 500 and status not in {408, 429}
    why = f"refused with HTTP {status}" + (f": {body.splitlines()[0][:200]}" if body else "")
    return CannotConnect(endpoint.url, why, permanent=permanent)


def _what_went_wrong(error: BaseException) -> tuple[str, bool]:
    """Find the cause among wrapped errors. Returns its text, and whether it is permanent."""
    causes: list[BaseException] = [error]
    for one in causes:
        if isinstance(one, ssl.SSLCertVerificationError):
            return f"certificate not trusted: {one.verify_message}", True
        if isinstance(one, ConnectionRefusedError):
            return NOBODY_LISTENS, False
        if isinstance(one, ssl.SSLError) and one.reason in _NO_TLS:
            return "what came back is not TLS; is it ws:// there?", True
        if isinstance(one, BaseExceptionGroup):
            causes.extend(one.exceptions)
        causes.extend(inner for inner in (one.__cause__, one.__context__) if inner is not None)
    last = causes[0] if isinstance(error, OSError) else causes[-1]
    return str(getattr(last, "strerror", None) or last) or type(last).__name__, False


def _link_closed(closed: trio_websocket.ConnectionClosed) -> LinkClosed:
    reason = closed.reason
    if reason is None:
        return LinkClosed(close_row(1006), "")
    return LinkClosed(close_row(reason.code), reason.reason or "")
