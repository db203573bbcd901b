"""The HTTP request that some peers need before a WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec


async def post(
    url: str, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """POST JSON to the host of a ws:// address; return the JSON of the answer.

    Raises:
        ConnectionError: the answer is not 200.
    """
    where = urlsplit(url)
    secure = where.scheme == "wss"
    port = where.port or (443 if secure else 80)
    content = msgspec.json.encode(body)
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {where.netloc}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    reader, writer = await asyncio.open_connection(where.hostname, port, ssl=secure or None)
    try:
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
        answer = await reader.read()
    finally:
        writer.close()
    head, _, rest = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise ConnectionError(f"{path} answered {answer[:300]!r}")
    if b"transfer-encoding: chunked" in head.lower():
        rest = unchunked(rest)
    found: dict[str, Any] = msgspec.json.decode(rest)
    return found


def unchunked(body: bytes) -> bytes:
    """Return a chunked body in one piece (RFC 9112, section 7.1)."""
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        if not length:
            break
        whole += body[:length]
        body = body[length + 2 :]
    return whole
