"""An HTTP request and its answer, as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from protocol.errors import RequestError
from protocol.messages.envelope import ErrorReply

JSON_TYPE: Final = "application/json"


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request, read to its end.

    Attributes:
        method: such as "POST".
        path: the part before the "?", not decoded.
        query: the part after it.
        headers: name in small letters -> value. Several headers of one name are joined by ", ".
        body: the body.
        address: the network address of the client, if it has limits of its own; None: a proxy's.
        peer: the address that the client is known by, for a log.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str]
    body: bytes = b""
    address: str | None = None
    peer: str = ""


class HttpResponse(msgspec.Struct, frozen=True, gc=False):
    """An answer. The length and the date are added when it is sent."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class ApiError(msgspec.Struct, frozen=True, gc=False):
    """The body of an answer that refuses: a row of the table of errors.

    `retry` says whether the same request may succeed later, and `retry_in_s` after how many
    seconds, if that is known.
    """

    code: str
    message: str
    retry: bool = False
    retry_in_s: float | msgspec.UnsetType = msgspec.UNSET


_ENCODE: Final = msgspec.json.Encoder().encode
_TYPE: Final = ("content-type", JSON_TYPE)


def answered(body: object) -> HttpResponse:
    """Return an answer in JSON. Raises what msgspec raises for a value without an encoding."""
    return HttpResponse(200, _ENCODE(body), (_TYPE,))


def refused(error: RequestError, status: int | None = None) -> HttpResponse:
    """Return the answer that tells of an error. `status` replaces the error's own status."""
    reply = ErrorReply.of(error, None)
    headers = [_TYPE]
    if reply.retry_in_s is not msgspec.UNSET:
        headers.append(("retry-after", str(max(1, round(reply.retry_in_s + 0.5)))))
    if error.error.status == 401:
        headers.append(("www-authenticate", "Bearer"))
    body = ApiError(reply.code, reply.message, reply.retry, reply.retry_in_s)
    return HttpResponse(status or error.error.status, _ENCODE(body), tuple(headers))
