"""One client's connection, as the gateway and the session see it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from actors.edge.admission import Admission
from actors.edge.blocks import UNBLOCKING, Blocking, without
from actors.edge.failures import request_error
from actors.edge.rules.bucket import ClientLimits
from actors.edge.traffic import ADDRESS_BUSY, Traffic, read_next_in
from actors.runtime.future import Future
from actors.runtime.ref import ActorRef
from protocol.codec import EncodeError, Encoding
from protocol.errors import BUSY, INTERNAL, REF_IN_USE, TOO_MANY_REQUESTS, CloseCode, RequestError
from protocol.messages.envelope import Ok, Push
from protocol.server.outbox import Outbox
from protocol.server.websocket import Connection

TOO_MUCH_TO_DO = RequestError(BUSY, "the server has more to do than it can")
SMALL: Final = 16_384
"""An answer of at most so many bytes, such as an acknowledgement, never waits for room."""
_TOO_MANY = RequestError(TOO_MANY_REQUESTS)
_log = structlog.get_logger("actors.edge.connected_client")


class ConnectedClient:
    """A connection with the requests that are being answered on it.

    The hub of topics holds it as a session's `Recipient`. Refs belong to the connection: a client
    that comes back on another connection starts with none in flight.

    Arguments:
        connection: the wire's end.
        limits: the rate limits of the client.
        max_in_flight: how many requests of the client may be answered at once.
        admission: counts the requests of all clients.
        clock: returns the time in seconds.
        traffic: what the clients of its address ask for together; None: the address has no limits.
    """

    __slots__ = (
        "_late", "_unasked", "admission", "blocking", "clock", "connection", "encoding", "id",
        "in_flight", "limits", "max_in_flight", "outbox", "session", "traffic",
    )  # fmt: skip

    def __init__(
        self,
        connection: Connection,
        limits: ClientLimits,
        max_in_flight: int,
        admission: Admission,
        *,
        clock: Callable[[], float],
        traffic: Traffic | None = None,
    ) -> None:
        self.traffic = traffic
        self.admission = admission
        self.clock = clock
        self.connection = connection
        self.id: int = connection.id
        self.encoding: Encoding = connection.encoding
        self.outbox: Outbox = connection.outbox
        self.limits = limits
        self.blocking: Blocking = UNBLOCKING
        """Whom its user has blocked."""
        self.session: ActorRef | None = None
        """The session of this connection; None: it has none yet, or none any more."""
        self.in_flight: set[int] = set()
        """Refs of the requests that are being answered; a request without one has a number below 0.
        """
        self._unasked = 0  # the last of these numbers
        self._late: deque[tuple[int, bytes]] = deque()  # refs and answers that wait for room
        self.max_in_flight = max_in_flight

    def may_ask(self, ref: int | None) -> bool:
        """Whether the client may have one more request answered. If not, the request is refused."""
        in_flight = self.in_flight
        if ref in in_flight:
            self.refuse(RequestError(REF_IN_USE), ref)
            return False
        if len(in_flight) >= self.max_in_flight:
            self.refuse(_TOO_MANY, ref)
            return False
        return True

    def has_room(self, ref: int | None) -> bool:
        """Whether the node may answer one more request now. If not, the request is refused.

        A request without a ref costs as much as any other.
        """
        admission, traffic = self.admission, self.traffic
        if admission.full():
            error = TOO_MUCH_TO_DO
        elif traffic is not None and admission.address_full(traffic):
            error = ADDRESS_BUSY
        else:
            return True
        admission.shed += 1
        self.refuse(error, ref)
        return False

    def takes_up(self, ref: int | None) -> bool:
        """Whether one more request that was just read is within the client's and the node's bounds.

        If not, it is refused, together with the requests behind it in the same read.
        """
        admission, traffic = self.admission, self.traffic
        pause: Callable[[float], float] = admission.read_next_in
        if admission.full(to_come=True):
            admission.shed += 1
            error = TOO_MUCH_TO_DO
        elif traffic is not None and admission.address_full(traffic, to_come=True):
            admission.shed += 1
            error, pause = ADDRESS_BUSY, read_next_in
        elif len(self.in_flight) >= self.max_in_flight:
            error = _TOO_MANY
        else:
            admission.handed += 1
            if traffic is not None:
                traffic.hand(admission.turn)
            return True
        # No answer is given while a read is handled, so the requests behind this one have no room.
        self.connection.shed(error, ref, admission.sheddable, pause)
        return False

    def begin(self, ref: int | None, future: Future[object], *, in_order: bool = False) -> None:
        """Answer `ref` with the result of the future as soon as it is there, past the session.

        A request without a ref gets no answer, but counts as under way all the same.

        An answer that the outbox has no room for waits until the outbox has drained. Its request
        counts as under way until then, so a client cannot have more of them than `max_in_flight`.
        `in_order`: the answer must not wait, because the client needs it to understand the pushes
        that follow it.
        """
        if ref is None:
            self._unasked -= 1
            mark = self._unasked
        else:
            mark = ref
        self.in_flight.add(mark)
        self.admission.begin()
        if self.traffic is not None:
            self.traffic.under_way += 1
        future.when_done(partial(self._answer, mark, self.clock(), in_order))

    def ok(self, ref: int | None, data: object = None) -> None:
        """Answer a request with success."""
        if ref is not None:
            try:
                self.outbox.push(self.encoding.frame(Ok(ref, data)))
            except EncodeError as error:
                self._refuse_answer(ref, data, error)

    def refuse(self, error: RequestError, ref: int | None) -> None:
        """Answer a request with an error; a request without a ref gets no answer."""
        if ref is not None:
            self.connection.refuse(error, ref)

    def push(self, push: Push) -> None:
        """Push to this client alone.

        Raises:
            EncodeError: `push` cannot be encoded.
        """
        self.outbox.push(self.encoding.frame(push))

    def drained(self) -> Future[None]:
        """Return a future that is done once the outbox has drained, or the connection has ended."""
        drained: Future[None] = Future()
        self.outbox.when_drained(drained.set)
        return drained

    def close(self, code: CloseCode) -> None:
        """Close the connection."""
        self.connection.close(code)

    def _answer(self, mark: int, began_at: float, in_order: bool, done: Future[object]) -> None:
        self.admission.end(began_at, self.clock())
        if self.traffic is not None:
            self.traffic.under_way -= 1
        error = done.exception()
        if error is None and mark >= 0:
            data = done.result()
            if users := self.blocking.users:
                data = without(data, users)
            try:
                frame = self.encoding.frame(Ok(mark, data))
            except EncodeError as unencodable:
                self._refuse_answer(mark, data, unencodable)
            else:
                if not in_order and len(frame) > SMALL and not self.outbox.takes(len(frame)):
                    self._put_off(mark, frame)
                    return
                self.outbox.push(frame)
        self.in_flight.discard(mark)
        if error is not None and mark >= 0:
            self.refuse(request_error(error), mark)

    def _refuse_answer(self, ref: int, data: object, error: EncodeError) -> None:
        """Refuse a request because its answer cannot be encoded."""
        _log.error("reply without an encoding", data=type(data).__name__, error=str(error))
        self.refuse(RequestError(INTERNAL), ref)

    def _put_off(self, ref: int, frame: bytes) -> None:
        self._late.append((ref, frame))
        self.outbox.held_bytes += len(frame)
        if len(self._late) == 1:
            self.outbox.when_drained(self._send_late)

    def _send_late(self) -> None:
        outbox, late = self.outbox, self._late
        if outbox.closed:
            late.clear()
            outbox.held_bytes = 0
        while late and outbox.takes(len(late[0][1])):
            ref, frame = late.popleft()
            outbox.held_bytes -= len(frame)
            self.in_flight.discard(ref)
            outbox.push(frame)
        if late:
            outbox.when_drained(self._send_late)
