"""The requests and pushes of a session, over one connection after the other.

The channel opens a connection, opens or resumes the session on it, and serves it. When it breaks,
the channel tries to open another one, as the table of closes and the back-off say. It does not
interpret pushes; its `Follower` does.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
import trio

from protocol.errors import DRAIN, OVERLOADED, TOKEN_EXPIRED, TOKEN_RAN_OUT, TOO_LONG
from protocol.messages import AnyServerMessage
from protocol.messages.envelope import ErrorReply, Ok, Position, Request
from protocol.messages.op import op_of
from protocol.messages.session import (
    SessionClose,
    SessionExpiring,
    SessionOpen,
    SessionOpened,
    SessionRenew,
    SessionRenewed,
    SessionResume,
)
from protocol.remote.access import AccessSource
from protocol.remote.calls import Calls
from protocol.remote.errors import (
    CannotConnect,
    ClientError,
    Disconnected,
    RequestFailed,
    RequestTimedOut,
)
from protocol.remote.feed import Feed
from protocol.remote.link import Endpoint, Link, LinkClosed, carrying_nursery, open_link
from protocol.remote.settings import ClientSettings, Connected, Reconnecting, Status

SILENT_KEEPALIVES = 3
"""After so many keep-alive intervals without a byte the connection counts as lost (PROTOCOL.md)."""
OVERLOADED_ATTEMPTS = 4
"""How many steps of the back-off are skipped when the server says that it is overloaded."""


class Follower(Protocol):
    """Takes the pushes of a channel. No method waits."""

    def positions(self) -> dict[str, Position]:
        """Return the position on each topic, for a resume."""

    def pushed(self, push: AnyServerMessage, nursery: trio.Nursery | None) -> None:
        """Take a push. `nursery` ends with the connection; None: the session is not open yet."""

    def ended(self, why: Disconnected | None) -> None:
        """Note that no more pushes come. None: the user has left the session."""


class Channel:
    """One session's requests. Any number of tasks may use it at once.

    Arguments:
        endpoint: where the server is.
        greeting: opens the session on its first connection.
        access: brings access tokens; None: the user is a guest.
        settings: the time limits and bounds.
        rng: for the random part of the back-off.
        follower: takes the pushes.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        greeting: SessionOpen | SessionResume,
        access: AccessSource | None,
        *,
        settings: ClientSettings,
        rng: random.Random,
        follower: Follower,
    ) -> None:
        self.connected = False
        self.statuses: Feed[Status, Status] = Feed(64, lambda _, __: None)
        self.opened: SessionOpened | None = None
        """The server's answer to the open or resume on the newest connection; None: none yet."""
        self._endpoint = endpoint
        self._greeting = greeting
        self._access = access
        self._expiring = trio.Event()
        self._denied: ClientError | None = None  # by what brings access tokens
        self._settings = settings
        self._rng = rng
        self._follower = follower
        self._calls = Calls()
        self._slots = trio.Semaphore(settings.in_flight)
        self._writer = trio.lowlevel.ParkingLot()
        self._up_at = -math.inf
        self._leaving = False
        self._over: Disconnected | None = None
        self._ended = trio.Event()
        self._scope = trio.CancelScope()

    async def call(
        self,
        request: Request,
        on_ok: Callable[[Any], Any],
        timeout_s: float | None = None,
        on_lost: Callable[[], Any] | None = None,
    ) -> Any:
        """Send a request; return the result of `on_ok` for the answer.

        Arguments:
            request: the request; its `ref` is set here.
            on_ok: takes the data of the answer. It runs before anything that came after the answer
                is handled.
            timeout_s: the deadline in seconds; None: the settings'.
            on_lost: with it, `on_ok` runs even if this call was cancelled or has timed out. It runs
                in place of `on_ok` once no `ok` can come: the answer was an error, the connection
                broke, or the request was never sent.

        Raises:
            RequestFailed, RequestTimedOut, ConnectionLost, Disconnected, EncodeError.
        """
        limit_s = self._settings.request_timeout_s if timeout_s is None else timeout_s
        call = None
        try:
            with trio.move_on_after(limit_s):
                async with self._slots:
                    if self._over is not None:
                        raise self._over.again()
                    call = self._calls.add(request, self._encode, on_ok, on_lost)
                    self._writer.unpark()
                    await call.done.wait()
        finally:
            if call is not None:
                self._calls.forget(call)
            elif on_lost is not None:
                on_lost()
        if call is None or not call.done.is_set():
            sent = call is not None and call.sent
            raise RequestTimedOut(op_of(request), limit_s, sent=sent)
        return call.result()

    async def leave(self) -> None:
        """End the session, on the server as well if it can be reached at once.

        A cancelled program does so too, within `close_timeout_s`, so that other users see it leave
        and not time out. For this `run` is shielded from cancellation; this method ends it.
        """
        self._leaving = True
        with trio.move_on_after(self._settings.close_timeout_s, shield=True):
            if self.connected and self._over is None:
                self._calls.add(SessionClose(), self._encode, lambda data: data)
                self._writer.unpark()
                await self._ended.wait()
        self._end(Disconnected("the session was left"))
        self._scope.cancel()

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Keep a connection open until the session is over or left.

        It has started once the first connection is open.

        Raises:
            CannotConnect, RequestFailed, Disconnected: the first connection failed. If a later one
                fails, there is another attempt.
        """
        with self._scope:
            await self._hold(task_status)

    async def _hold(self, task_status: trio.TaskStatus[None]) -> None:
        attempt, down_since = 0, math.inf
        while True:
            drained = False
            error = await self._one_connection(task_status)
            if self.opened is None:
                raise error
            if self._leaving or not self._worth_another(error):
                self._end(_as_ending(error))
                return
            now = trio.current_time()
            if self.connected:
                self.connected = False
                down_since = now
                drained = isinstance(error, Disconnected) and error.close is DRAIN
                if drained or now - self._up_at >= self._settings.stable_after_s:
                    attempt = 0
            if now - down_since >= self._settings.give_up_after_s:
                self._end(Disconnected(f"gave up: {error}"))
                return
            if isinstance(error, Disconnected) and error.close is OVERLOADED:
                attempt = max(attempt, OVERLOADED_ATTEMPTS)
            backoff, rng = self._settings.backoff, self._rng
            wait_s = backoff.wait_after_drain_s(rng) if drained else backoff.wait_s(attempt, rng)
            attempt += 1
            self.statuses.put(Reconnecting(str(error), attempt, wait_s, error))
            await trio.sleep(wait_s)

    async def _one_connection(self, task_status: trio.TaskStatus[None]) -> ClientError:
        """Connect, open or resume, and serve until it ends; returns why it ended."""
        try:
            greeting = await self._next_greeting()
            async with open_link(self._endpoint) as link:
                opened = await self._greet(link, greeting)
                first, self.opened = self.opened is None, opened
                self.connected, self._up_at = True, trio.current_time()
                if first:
                    self._scope.shield = True
                    task_status.started()
                else:
                    self.statuses.put(Connected(opened.resumed))
                async with carrying_nursery() as nursery:
                    nursery.start_soon(self._write, link)
                    if self._access is not None and self._access.renewable:
                        nursery.start_soon(self._renew, self._access, nursery)
                    if opened.keepalive_s > 0:
                        limit_s = SILENT_KEEPALIVES * opened.keepalive_s
                        nursery.start_soon(link.watch_silence, limit_s)
                    while True:
                        self._received(await link.receive(), nursery)
                assert self._denied is not None  # it has cancelled the nursery
                return self._denied
        except LinkClosed as closed:
            return Disconnected(str(closed), closed.close)
        except ClientError as error:
            return error
        finally:
            self._calls.broke()

    async def _next_greeting(self) -> SessionOpen | SessionResume:
        token = None if self._access is None else await self._access.token()
        if self.opened is not None:
            positions = self._follower.positions()
            return SessionResume(token=self.opened.token, positions=positions, access=token)
        if isinstance(self._greeting, SessionOpen):
            return msgspec.structs.replace(self._greeting, token=token)
        return msgspec.structs.replace(self._greeting, access=token)

    async def _greet(self, link: Link, greeting: SessionOpen | SessionResume) -> SessionOpened:
        payload = self._endpoint.encoding.encode(msgspec.structs.replace(greeting, ref=0))
        with trio.move_on_after(self._settings.connect_timeout_s):
            await link.send(payload)
            while True:
                message = await link.receive()
                if isinstance(message, Ok):
                    try:
                        return msgspec.convert(message.data, SessionOpened)
                    except msgspec.ValidationError as error:
                        raise ClientError(f"the welcome breaks the protocol: {error}") from None
                if isinstance(message, ErrorReply):
                    raise RequestFailed.of(op_of(greeting), message)
                self._received(message, None)
        raise CannotConnect(self._endpoint.url, f"no answer to {op_of(greeting)}")

    async def _write(self, link: Link) -> None:
        try:
            while True:
                call = self._calls.next_to_send()
                if call is None:
                    await self._writer.park()
                else:
                    await link.send(call.payload)
        except LinkClosed:
            return  # the reader notices as well, after it has read the last messages

    async def _renew(self, access: AccessSource, nursery: trio.Nursery) -> None:
        """Go on with a new access token, whenever the last one is about to run out.

        If that fails, it is tried again. A connection that is closed for it comes back with a new
        token. If there will be none, the connection ends.
        """
        while True:
            assert self.opened is not None
            expires = self.opened.expires
            wait_s = math.inf if expires is None else access.renew_in_s(expires)
            with trio.move_on_after(wait_s):
                await self._expiring.wait()
            self._expiring = trio.Event()
            try:
                request = SessionRenew(access=await access.token())
                await self.call(request, self._renewed)
            except (CannotConnect, RequestFailed, RequestTimedOut):
                continue
            except ClientError as error:
                self._denied = error
                nursery.cancel_scope.cancel()

    def _renewed(self, data: Any) -> None:
        assert self.opened is not None
        now = msgspec.convert(data, SessionRenewed)
        self.opened = msgspec.structs.replace(self.opened, token=now.token, expires=now.expires)

    def _received(self, message: AnyServerMessage, nursery: trio.Nursery | None) -> None:
        if isinstance(message, ErrorReply):
            for reply in message.each():
                self._calls.settle(reply)
        elif isinstance(message, Ok):
            self._calls.settle(message)
        elif isinstance(message, SessionExpiring):
            self._expiring.set()
        else:
            self._follower.pushed(message, nursery)

    def _encode(self, request: Request) -> bytes:
        assert self.opened is not None
        payload = self._endpoint.encoding.encode(request)
        if len(payload) > (most := self.opened.max_message_bytes):
            # The server would close the connection for such a message, which ends the session.
            message = f"{len(payload)} bytes; the server takes {most}"
            raise RequestFailed(op_of(request), TOO_LONG.code, message, retry=False)
        return payload

    def _end(self, why: Disconnected) -> None:
        if self._over is not None:
            return
        self._over = why
        self.connected = False
        self._calls.end(why.again)
        self._follower.ended(None if self._leaving else why)
        self.statuses.close()
        self._ended.set()

    def _worth_another(self, error: ClientError) -> bool:
        """Whether to connect again, by the tables of closes and errors."""
        renewable = self._access is not None and self._access.renewable
        if isinstance(error, Disconnected):
            if error.close is TOKEN_RAN_OUT:
                return renewable
            return error.close is not None and error.close.reconnect
        if isinstance(error, RequestFailed):
            return error.retry or (error.code == TOKEN_EXPIRED.code and renewable)
        return isinstance(error, CannotConnect) and not error.permanent


def _as_ending(error: ClientError) -> Disconnected:
    """Return how a session ends with this error."""
    if isinstance(error, Disconnected):
        return error
    code = error.code if isinstance(error, RequestFailed) else ""
    return Disconnected(str(error), code=code)
