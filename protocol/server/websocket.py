"""The server's side of one WebSocket connection.

It has a non-blocking socket, which the `Poller` reads when there are bytes; a `FrameReader`, which
finds the messages in them; and an `Outbox` for the frames that leave. The task of a connection
sleeps meanwhile. It only runs at the beginning, at the end, and when something has to be awaited.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec
import structlog
import trio

from protocol import frames
from protocol.codec import Encoding
from protocol.errors import (
    DRAIN,
    FLOODING,
    INVALID_TEXT,
    KEEPALIVE_TIMEOUT,
    NO_SESSION_IN_TIME,
    NORMAL,
    SERVER_ERROR,
    SLOW_CONSUMER,
    UNSUPPORTED_DATA,
    CloseCode,
    RequestError,
)
from protocol.messages.envelope import ErrorReply
from protocol.server.flusher import Flusher
from protocol.server.handler import Handler
from protocol.server.keepalive import NEVER, Wheel
from protocol.server.outbox import Outbox
from protocol.server.parser import FrameReader
from protocol.server.poller import Poller
from protocol.server.settings import WireSettings
from protocol.server.shedding import Shed

log = structlog.get_logger("protocol.server.websocket")

READ_BYTES: Final = 16_384
"""The size of a read. The messages in it are handled within a few milliseconds at worst."""

_TURN = 64  # messages of one client that are handled in a row, before others have their turn
_KEY_UPDATE_POLL_S = 0.05
_LAST_READS = 8  # full-speed reads after a close; a client answers it within one or two
_LAST_READS_S = 0.05  # the pause between further reads from a client that goes on sending
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: unsent bytes are thrown away


class Connection:
    """One client's connection, from the end of the handshake. Used on the trio thread only.

    Args:
        id: a number, unique in the process.
        encoding: the encoding of the subprotocol.
        peer: the other end of the socket, for logs.
        sock: a non-blocking socket, which the connection owns and closes.
        settings: the limits.
        flusher: sends what the outbox holds.
        wheel: calls `visit` for keep-alive, and `expired` at a deadline.
        address: the client's address, which limits apply to; None: no limits apply.
    """

    __slots__ = (
        "_close", "_control", "_flushed", "_handler", "_heard", "_held_back", "_messages",
        "_over", "_peer_closed", "_read_next_in", "_reader", "_reason", "_scope",
        "_sent", "_settings", "_shed", "_silent", "_socket", "_wheel", "address", "closed",
        "deadline", "encoding", "id", "last_reads", "message_bytes", "outbox", "peer", "send",
    )  # fmt: skip

    def __init__(
        self,
        id: int,  # noqa: A002 - the name callers know it by
        encoding: Encoding,
        peer: str,
        sock: socket.socket,
        *,
        settings: WireSettings,
        flusher: Flusher,
        wheel: Wheel,
        address: str | None = None,
    ) -> None:
        self.id = id
        self.encoding = encoding
        self.peer = peer
        self.address = address
        self.send = sock.send
        self.outbox = Outbox(encoding, settings.outbox_bytes, flusher, self)
        self.closed = False
        """Whether the connection is closed or closing, so that pushed frames are dropped."""
        self.message_bytes = 0
        """The payload size of the message that `Handler.received` is called with."""
        self.last_reads = 0
        """How often it was read from while it was closing."""
        self.deadline = NEVER
        self._socket = sock
        self._settings = settings
        self._wheel = wheel
        self._reader = FrameReader(settings.max_message_bytes)
        self._handler: Handler | None = None
        self._close: CloseCode | int = frames.ABNORMAL
        self._reason = ""
        self._messages: Iterator[tuple[int, bytes]] = iter(())  # read, but not handled yet
        self._held_back: Awaitable[None] | None = None  # to be awaited before the next message
        self._over = False  # the stream has ended
        self._peer_closed = False  # the client's close frame has come, or its stream has ended
        self._sent = False  # our close frame has been handed to the socket
        self._flushed: trio.Event | None = None
        self._scope: trio.CancelScope | None = None  # while the handler holds reading back
        self._heard = True
        self._silent = 0
        self._control = 0
        self._read_next_in: Callable[[float], float] | None = None  # before the next read
        self._shed: Shed | None = None  # while the rest of a read is refused
        wheel.add(self)
        # Set here and not in `run`: the layer above may lift the deadline before `run`.
        wheel.expect(self, settings.first_message_timeout_s)

    def __repr__(self) -> str:
        return f"<Connection {self.id} {self.encoding.name} {self.peer}>"

    def reply(self, message: msgspec.Struct) -> None:
        """Encode, frame and push one message.

        Raises:
            EncodeError: the message cannot be encoded.
        """
        self.outbox.push(self.encoding.frame(message))

    def refuse(self, error: RequestError, ref: int | None, others: Sequence[int] = ()) -> None:
        """Answer the request `ref` (`None`: it could not be read), and `others`, with an error."""
        self.reply(ErrorReply.of(error, ref, others))

    def shed(
        self,
        error: RequestError,
        ref: int | None,
        ops: AbstractSet[str],
        read_next_in: Callable[[float], float] | None = None,
    ) -> None:
        """Refuse the request `ref`, and the requests of `ops` behind it in the same read.

        Requests without a ref are refused as well, without an answer.

        Args:
            error: the answer.
            ref: the ref of the request; None: it has none.
            ops: the ops whose requests may be refused.
            read_next_in: called once the whole read is handled, with trio's time; returns in how
                many seconds to read again. The messages of that time are then read together, which
                takes a fifth of the time that they take one by one.
        """
        self._shed = Shed(error, ops, ref)
        self._read_next_in = read_next_in

    def end_shed(self) -> None:
        """Answer the requests that were refused together, if any. The next one is judged anew."""
        shed, self._shed = self._shed, None
        if shed is None:
            return
        if shed.refs:
            first, *others = shed.refs
            self.refuse(shed.error, first, others)
        if shed.behind:
            assert self._handler is not None
            self._handler.shed(shed.error, shed.behind, shed.size_bytes)

    def expect_within(self, seconds: float | None) -> None:
        """Close with NO_SESSION_IN_TIME in so many seconds; `None`: lift that deadline."""
        if not self.closed:
            self._wheel.expect(self, seconds)

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Send the queued frames and a close frame, and end. A second call does nothing.

        The client has `close_timeout_s` to read everything and to answer; then the socket is reset.
        A client that reads too slowly or has vanished gets the close frame alone.
        """
        if self.closed:
            return
        if code is FLOODING:
            self._peer_closed = True  # further messages of the client are not looked at
        text = f"{code.name}: {reason}" if reason else code.name
        self._leave(
            code,
            reason,
            frames.close_frame(code.code, text),
            drop=code in (SLOW_CONSUMER, KEEPALIVE_TIMEOUT),
        )

    async def run(self, handler: Handler, poller: Poller, first: bytes = b"") -> None:
        """Read until the end, then close the socket and tell `handler`.

        It raises only trio's Cancelled. An error of the handler closes this connection with
        SERVER_ERROR.

        Args:
            handler: takes the requests.
            poller: reads the socket.
            first: bytes that came in one read with the handshake.
        """
        self._handler = handler
        try:
            if first:
                self._feed(first)
            await self._read(poller)
            if not self.closed:  # half-closed: the client may still read our frames
                self._leave(
                    frames.ABNORMAL,
                    "the stream ended without a close frame",
                    frames.close_frame(NORMAL.code, "the stream ended"),
                )
            if not self._sent:
                self._flushed = trio.Event()
                with trio.move_on_after(self._settings.close_timeout_s):
                    await self._flushed.wait()
        finally:
            self._end()

    def discard(self) -> None:
        """Close the socket of a connection that was never `run`."""
        self.outbox.abandon()
        self.closed = True
        self._wheel.discard(self)
        self._socket.close()

    # --- reading ----------------------------------------------------------------------------------

    async def _read(self, poller: Poller) -> None:
        """Read until the stream ends."""
        tls = isinstance(self._socket, ssl.SSLSocket)
        readable = self._readable_tls if tls else self._readable
        while True:
            while self._held_back is not None:
                held_back, self._held_back = self._held_back, None
                await self._hold(held_back)
                self._handle()
            if self._over:
                return
            if self.last_reads > _LAST_READS:
                await self._rest()
            if not (tls and readable()):
                await poller.wait(self._socket, readable)

    def _readable(self) -> bool:
        """Read once and handle the messages. Returns whether the task has to wake."""
        try:
            data = self._socket.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except ssl.SSLWantWriteError:
            # A key update cannot leave because the client does not read. This is rare, and a poll
            # is simpler than to share the wait for writability with the outbox's writer.
            self._held_back = trio.sleep(_KEY_UPDATE_POLL_S)
            return True
        except OSError as error:
            self._over = True
            self.broken(error)
            return True
        self._feed(data)
        return self._over or self._held_back is not None or self.closed

    def _readable_tls(self) -> bool:
        """The same for TLS, which may hold decrypted bytes that epoll does not know of."""
        sock = self._socket
        assert isinstance(sock, ssl.SSLSocket)
        while not self._readable():
            if not sock.pending():
                return False
        return True

    def _feed(self, data: bytes) -> None:
        if not data:
            self._over = self._peer_closed = True
            return
        self._heard = True
        if self.closed:
            self.last_reads += 1
        if self._peer_closed:
            return
        reader = self._reader
        self._messages = iter(reader.feed(data))
        if reader.fragments:
            self._count_fragments()
        self._handle()

    def _count_fragments(self) -> None:
        count, self._reader.fragments = self._reader.fragments, 0
        handler = self._handler
        assert handler is not None
        if not self.closed:
            try:
                handler.fragments(count)
            except Exception:
                self._handler_failed()

    def _handle(self) -> None:
        """Handle the messages that were read, until one has to be waited for."""
        self._handle_some()
        if self._shed is not None:
            self.end_shed()

    def _handle_some(self) -> None:
        for count, (opcode, payload) in enumerate(self._messages, 1):
            if opcode >= frames.CLOSE:
                self._take_control(opcode, payload)
            elif not self.closed and not (self._shed and self._sheds(opcode, payload)):
                self._held_back = self._take(opcode, payload)
                if self._held_back is not None:
                    return
            if count == _TURN:
                self._held_back = trio.lowlevel.checkpoint()
                return
        reader = self._reader
        if reader.failure is not None and not self._peer_closed:
            self._peer_closed = True  # further bytes of the client are ignored
            self.close(reader.failure, reader.reason)
            self._shut_if_sent()
        read_next_in, self._read_next_in = self._read_next_in, None
        if read_next_in is not None and (pause_s := read_next_in(trio.current_time())):
            self._held_back = trio.sleep(pause_s)

    def _sheds(self, opcode: int, payload: bytes) -> bool:
        """Refuse a message along with those before it, if it may be refused; returns whether."""
        assert self._shed is not None
        if opcode == self.encoding.opcode and self._shed.takes(self.encoding, payload):
            return True
        self.end_shed()
        return False

    def _take(self, opcode: int, payload: bytes) -> Awaitable[None] | None:
        """Take one data message. Returns an awaitable to wait for before the next one, if any."""
        if opcode != self.encoding.opcode:
            kind = "binary" if self.encoding.opcode == frames.BINARY else "text"
            self.close(UNSUPPORTED_DATA, f"{self.encoding.subprotocol} takes {kind} frames")
            return None
        text: bytes | str = payload
        if opcode == frames.TEXT:
            try:
                text = payload.decode()
            except UnicodeDecodeError as error:
                self.close(INVALID_TEXT, f"{error.reason} at byte {error.start}")
                return None
        handler = self._handler
        assert handler is not None
        self.message_bytes = len(payload)
        try:
            try:
                request = self.encoding.decode_request(text)
            except RequestError as error:
                handler.undecodable(error, error.ref)
                return None
            return handler.received(request)
        except Exception:
            self._handler_failed()
            return None

    async def _hold(self, held_back: Awaitable[None]) -> None:
        with trio.CancelScope() as self._scope:
            if self.closed:  # the handler that asks for the wait has closed it
                self._scope.cancel()
            try:
                await held_back
            except Exception:
                self._handler_failed()
        self._scope = None

    async def _rest(self) -> None:
        """Wait before the next read from a client that was closed but goes on sending.

        It may do so for `close_timeout_s`. Without pauses it could keep a whole core busy.
        """
        with trio.CancelScope() as self._scope:
            await trio.sleep(_LAST_READS_S)
        self._scope = None

    def _handler_failed(self) -> None:
        log.exception("handler failed", connection=self.id, peer=self.peer)
        self.close(SERVER_ERROR)

    def _take_control(self, opcode: int, payload: bytes) -> None:
        if opcode == frames.CLOSE:
            self._peer_closed = True
            if not self.closed:
                code, reason = frames.parse_close(payload)
                echo = None if code == frames.NO_STATUS else code
                self._leave(code, reason, frames.close_frame(echo))
            self._shut_if_sent()
            return
        self._control += 1
        if self._control > self._settings.control_frames_per_s * self._settings.keepalive_s:
            self.close(FLOODING, "control frames")
        elif opcode == frames.PING:
            self.outbox.push(frames.frame(frames.PONG, payload))

    # --- ending -----------------------------------------------------------------------------------

    def _leave(
        self, close: CloseCode | int, reason: str, last: bytes, *, drop: bool = False
    ) -> None:
        self.end_shed()
        if self.closed:
            return  # `end_shed` has closed it
        self.closed = True
        self._close = close
        self._reason = reason
        self._wheel.expect(self, self._settings.close_timeout_s)
        self.outbox.finish(last, drop=drop)
        if self._scope is not None:
            self._scope.cancel()

    def _shut_if_sent(self) -> None:
        """End our half of the stream once both close frames have passed.

        The other half is read until the client ends it. To close a socket with unread bytes would
        reset it, and the client might lose our close frame, which is still on its way.
        """
        if not (self._sent and self._peer_closed):
            return
        try:
            if isinstance(self._socket, ssl.SSLSocket):
                with contextlib.suppress(OSError, ValueError):
                    self._socket.unwrap()  # sends close_notify, without waiting for the answer
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the socket is gone already; the reader notices

    def _abort(self) -> None:
        """End both halves of the stream now. The reader wakes and closes the socket."""
        self.closed = True
        self.outbox.abandon()
        self._sent = True
        if self._flushed is not None:
            self._flushed.set()
        if self._scope is not None:
            self._scope.cancel()
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _end(self) -> None:
        """Close the socket and tell the handler. It is the last step, also when cancelled."""
        if not self.closed:  # cancelled: the server stops without a drain
            self._close = DRAIN
            if not self.outbox.unsent:
                with contextlib.suppress(OSError):
                    self.send(frames.close_frame(DRAIN.code, DRAIN.name))
        self.closed = True
        self.outbox.abandon()
        self._wheel.discard(self)
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()
        handler, self._handler = self._handler, None
        assert handler is not None
        name = self._close.name if isinstance(self._close, CloseCode) else self._close
        log.debug("connection ended", connection=self.id, peer=self.peer, close=name)
        try:
            handler.disconnected(self._close, self._reason)
        except Exception:
            log.exception("handler failed", connection=self.id, peer=self.peer)

    # --- what the outbox, the flusher and the wheel call ------------------------------------------

    async def wait_writable(self) -> None:
        await trio.lowlevel.wait_writable(self._socket)

    def overflowed(self) -> None:
        self.close(SLOW_CONSUMER, f"{self.outbox.queued_bytes} bytes waited")

    def fell_behind(self, reason: str) -> None:
        self.close(SLOW_CONSUMER, reason)

    def broken(self, error: OSError) -> None:
        if not self.closed:
            self._close = frames.ABNORMAL
            self._reason = str(error)
        self._abort()

    def sent_all(self) -> None:
        self._sent = True
        if self._flushed is not None:
            self._flushed.set()
        self._shut_if_sent()

    def visit(self) -> None:
        self._control = 0
        if self.closed:
            return
        settings = self._settings
        if self._heard or self._scope is not None:  # with a scope, the server itself does not read
            self._heard = False
            self._silent = 0
        else:
            self._silent += 1
            if self._silent * settings.keepalive_s >= settings.keepalive_timeout_s:
                self.close(KEEPALIVE_TIMEOUT)
                return
        self.outbox.push(frames.PING_FRAME)

    def expired(self) -> None:
        if not self.closed:
            self.close(NO_SESSION_IN_TIME)
        else:
            self._abort()
