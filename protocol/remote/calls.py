"""Requests without an answer: the order in which they are sent, and what a break does to them.

There is no I/O here. The owner of the connection takes the requests to send and gives the replies.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import msgspec
import trio

from protocol.messages import EVERY_OP
from protocol.messages.envelope import ErrorReply, Ok, Request
from protocol.messages.op import op_of
from protocol.remote.errors import ClientError, ConnectionLost, RequestFailed

T = TypeVar("T")


class Caller(Protocol):
    """The part of a session that rooms, matches and the inbox use."""

    async def request(self, request: Request, answer: type[T]) -> T:
        """Send a request; return its answer."""

    async def request_in(self, topic: str, request: Request, answer: type[T]) -> T:
        """Send a request about a topic that the session is in; return its answer."""

    async def leave(self, topic: str, request: Request) -> None:
        """Send the request that leaves a topic; once it is answered, stop following the topic."""


def key_or_new(key: str | None) -> str | None:
    """Return the idempotency key of a request; for "", a new one that nobody else has."""
    return secrets.token_hex(12) if key == "" else key


class Call:
    """One request under way: its payload, and its outcome once `done` is set."""

    __slots__ = (
        "_value", "done", "error", "on_lost", "on_ok", "op", "payload", "ref", "repeatable", "sent",
    )  # fmt: skip

    def __init__(
        self,
        ref: int,
        request: Request,
        encode: Callable[[Request], bytes],
        on_ok: Callable[[Any], Any],
        on_lost: Callable[[], Any] | None,
    ) -> None:
        self.ref = ref
        self.op = op_of(request)
        self.payload = encode(msgspec.structs.replace(request, ref=ref))
        self.repeatable = EVERY_OP.ops[self.op].may_repeat(request)
        self.on_ok = on_ok
        self.on_lost = on_lost
        """Called in place of `on_ok` once no `ok` can come. It is for a join or a leave, whose `ok`
        counts even if nobody waits for it any more. None: another request.
        """
        self.sent = False
        """Whether it was given to a connection at least once."""
        self.done = trio.Event()
        self.error: Exception | None = None
        self._value: Any = None

    def succeed(self, data: Any) -> None:
        """Take the answer. `on_ok` runs at once, so that it has set everything up before the next
        push is read.
        """
        try:
            self._value = self.on_ok(data)
        except msgspec.ValidationError as error:
            self.error = ClientError(f"{self.op}: the answer breaks the protocol: {error}")
        self.done.set()

    def fail(self, error: Exception) -> None:
        self.error = error
        self.done.set()
        if self.on_lost is not None:
            self.on_lost()

    def result(self) -> Any:
        """Return the result of `on_ok`, or raise the error that the request failed with."""
        if self.error is not None:
            raise self.error
        return self._value


class Calls:
    """The requests of one session, over all its connections."""

    def __init__(self) -> None:
        self._next_ref = 1
        self._queued: dict[int, Call] = {}
        self._sent: dict[int, Call] = {}

    def __len__(self) -> int:
        return len(self._queued) + len(self._sent)

    def add(
        self,
        request: Request,
        encode: Callable[[Request], bytes],
        on_ok: Callable[[Any], Any],
        on_lost: Callable[[], Any] | None = None,
    ) -> Call:
        """Queue a request. Raises what `encode` raises."""
        call = Call(self._next_ref, request, encode, on_ok, on_lost)
        self._next_ref += 1
        self._queued[call.ref] = call
        return call

    def next_to_send(self) -> Call | None:
        """Return the oldest request that was not given to this connection yet, if there is one."""
        if not self._queued:
            return None
        ref = next(iter(self._queued))
        call = self._sent[ref] = self._queued.pop(ref)
        call.sent = True
        return call

    def settle(self, reply: Ok | ErrorReply) -> bool:
        """Give a reply to its request. Returns False if nobody waits for it any more."""
        call = self._sent.pop(reply.ref, None) if reply.ref is not None else None
        if call is None:
            return False
        if isinstance(reply, Ok):
            call.succeed(reply.data)
        else:
            call.fail(RequestFailed.of(call.op, reply))
        return True

    def forget(self, call: Call) -> None:
        """Note that nobody waits for a request any more.

        It is not sent if it was not sent yet. If it was sent and has an `on_lost`, its `ok` is
        still taken, until the connection breaks.
        """
        if call.on_lost is None:
            self._sent.pop(call.ref, None)
        call.repeatable = False
        if self._queued.pop(call.ref, None) is not None and call.on_lost is not None:
            call.on_lost()

    def broke(self) -> None:
        """Note that the connection is gone, and queue the requests that may be repeated.

        They come before those that were never sent. Refs grow with time, so the order of refs is
        the order of the requests.
        """
        again: dict[int, Call] = {}
        for ref, call in sorted(self._sent.items()):
            if call.repeatable:
                again[ref] = call
            else:
                call.fail(ConnectionLost(call.op))
        self._sent.clear()
        self._queued = again | self._queued

    def end(self, error: Callable[[], Exception]) -> None:
        """Fail all requests, because the session is over.

        `error` makes an exception for each of them: one that several tasks raise would collect the
        tracebacks of all.
        """
        for call in (*self._sent.values(), *self._queued.values()):
            call.fail(error())
        self._sent.clear()
        self._queued.clear()
