"""`Outgoing`: asks other services over HTTP, each within a deadline and a number of bytes.

httpcore2 on trio does it, and not urllib3 in threads: a deadline is a cancel scope, which cuts a
request off wherever it is, while a thread that reads from a slow server ends when that has enough.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import httpcore2
import msgspec
import trio

from actors.edge.failures import Refused
from protocol.errors import PROVIDER_AWAY, PROVIDER_FAILED

_ERRORS: Final = (
    httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException,
    httpcore2.UnsupportedProtocol, httpcore2.ProxyError,
)  # fmt: skip


class OutgoingAnswer(msgspec.Struct, frozen=True):
    """The status, and the body as a JSON object; None: it is none."""

    status: int
    body: dict[str, Any] | None


class Outgoing:
    """Asks other services over HTTP.

    TLS is verified by the system's certificates; no redirect is followed, and no proxy of the
    environment is used.

    Arguments:
        timeout_s: how long a request may take, from the wait for a place to the last byte.
        answer_bytes: how long an answer may be.
        at_once: how many requests may be under way; more of them wait.
        tls: what to trust; None: the system's certificates.
    """

    def __init__(
        self,
        *,
        timeout_s: float,
        answer_bytes: int,
        at_once: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.timeout_s = timeout_s
        self.asked = 0
        """How many requests were sent."""
        self._answer_bytes = answer_bytes
        self._places = trio.CapacityLimiter(at_once)
        self._tls = tls

    async def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> OutgoingAnswer:
        """Get a JSON object.

        Raises:
            Refused: PROVIDER_AWAY; there was no answer in time, or one that says so.
                PROVIDER_FAILED; the answer is too long, or the address is not to be asked.
        """
        return await self._ask("GET", url, headers or {}, None)

    async def post(
        self, url: str, form: Mapping[str, str], *, headers: Mapping[str, str] | None = None
    ) -> OutgoingAnswer:
        """Post a form; returns the JSON object of the answer. Raises as `get` does."""
        return await self._ask("POST", url, headers or {}, form)

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None
    ) -> OutgoingAnswer:
        if not may_be_asked(url):
            raise Refused(PROVIDER_FAILED, "its address is not https")
        host = urlsplit(url).hostname
        try:
            with trio.fail_after(self.timeout_s):
                async with self._places:
                    status, body = await self._bytes(method, url, headers, form)
        except trio.TooSlowError:
            raise Refused(PROVIDER_AWAY, f"{host} has not answered in time") from None
        except _TooLong:
            raise Refused(PROVIDER_FAILED, "its answer is too long") from None
        except (*_ERRORS, OSError) as error:
            why = type(error).__name__  # its text may have the address with what it carries
            raise Refused(PROVIDER_AWAY, f"{host} cannot be asked: {why}") from None
        if status >= 500 or status == 429:
            raise Refused(PROVIDER_AWAY, f"{host} has answered {status}")
        return OutgoingAnswer(status, _as_object(body))

    async def _bytes(
        self, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None
    ) -> tuple[int, bytes]:
        self.asked += 1
        if self._tls is None:
            # It reads some hundred certificates, which takes 30 ms: as long as a tick of a game.
            self._tls = await trio.to_thread.run_sync(ssl.create_default_context)
        given: dict[bytes | str, bytes | str] = {
            "accept": "application/json", "user-agent": "greenroom", **dict(headers.items()),
        }  # fmt: skip
        content = None
        if form is not None:
            given["content-type"] = "application/x-www-form-urlencoded"
            content = urlencode(form).encode()
        backend = _Bounded(self._answer_bytes)
        async with httpcore2.AsyncConnectionPool(
            ssl_context=self._tls, network_backend=backend
        ) as pool:
            answer = await pool.request(method, url, headers=given, content=content)
            return answer.status, answer.content


class _TooLong(Exception):  # noqa: N818 - what happened
    pass


class _Bounded(httpcore2.TrioBackend):
    """Connects, and raises `_TooLong` for the byte that is one too many, heads included."""

    def __init__(self, left: int) -> None:
        self._left = left

    async def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore2.AsyncNetworkStream:
        return _BoundedStream(await super().connect_tcp(*args, **kwargs), self._left)


class _BoundedStream(httpcore2.AsyncNetworkStream):
    def __init__(self, stream: httpcore2.AsyncNetworkStream, left: int) -> None:
        self._stream = stream
        self._left = left

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = await self._stream.read(max_bytes, timeout)
        self._left -= len(data)
        if self._left < 0:
            raise _TooLong
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(self, *args: Any, **kwargs: Any) -> httpcore2.AsyncNetworkStream:
        return _BoundedStream(await self._stream.start_tls(*args, **kwargs), self._left)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def may_be_asked(url: str) -> bool:
    """Whether an address is https, or on this machine, as in development."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.username is not None or not host:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _as_object(body: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
