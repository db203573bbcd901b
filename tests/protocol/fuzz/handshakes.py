"""Handshake requests (RFC 6455, section 4.1), right and wrong."""

from __future__ import annotations

import base64
import random
import re
from pathlib import Path
from typing import Final

_TABLE = (Path(__file__).parents[3] / "protocol" / "PROTOCOL.md").read_text(encoding="utf-8")
STATUSES: Final = frozenset(("101", *re.findall(r"(?m)^\| (\d{3}) ", _TABLE)))
"""The statuses that may answer a handshake, read from PROTOCOL.md, to hold the server to it."""

SUBPROTOCOLS = ("greenroom.v1.msgpack", "greenroom.v1.json")

_OTHER_TONGUES = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),  # TLS
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"EHLO mail\r\n\r\n",
    b"SSH-2.0-OpenSSH_9\r\n\r\n",
    b"\0\0\0\x08\x04\xd2\x16\x2f\r\n\r\n",  # PostgreSQL's request for TLS
    b"*1\r\n$4\r\nPING\r\n\r\n",
)
_METHODS = ("POST", "HEAD", "CONNECT", "get", "", "G" * 9000, "\0")
_TARGETS = (
    "/",
    "/ws/",
    "//ws",
    "/ws?x=y",
    "/ws#x",
    "*",
    "http://h/ws",
    "/%00",
    "/w s",
    "",
    "/" * 9000,
)
_VERSIONS = ("HTTP/1.0", "HTTP/2.0", "HTTP/1.1 ", "http/1.1", "", "HTTP/99999999.1")
_VALUES = (
    "", " ", "\t", "x" * 200, "x" * 9000, "\0", "é", "\r\n x", ",", ";", '"', "websocket, h2c",
    "keep-alive, Upgrade", "8", "13, 8", "*", "a" * 22 + "==", "null", "-1",
)  # fmt: skip


def lines(dice: random.Random, subprotocol: str) -> list[tuple[str, str]]:
    """Return the headers of a valid handshake."""
    key = base64.b64encode(dice.randbytes(16)).decode()
    return [
        ("Host", "localhost"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", key),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Protocol", subprotocol),
    ]


def write(
    headers: list[tuple[str, str]], start: str = "GET /ws HTTP/1.1", end: str = "\r\n"
) -> bytes:
    """Return the bytes of a request."""
    text = start + end + "".join(f"{name}: {value}{end}" for name, value in headers) + end
    return text.encode("utf-8", "surrogateescape")


def right(dice: random.Random, subprotocol: str) -> bytes:
    """Return a handshake that the server must accept."""
    return write(lines(dice, subprotocol))


def mutated(dice: random.Random) -> bytes:
    """Return a handshake with one to three mistakes, or something that is no handshake."""
    headers = lines(dice, dice.choice(SUBPROTOCOLS))
    start = ["GET", "/ws", "HTTP/1.1"]
    end = "\r\n"
    rewrites = dice.choice((1, 1, 2, 3))
    for _ in range(rewrites):
        place = dice.randrange(len(headers)) if headers else 0
        what = dice.random()
        if not headers or what < 0.08:
            headers.insert(place, (dice.choice(("X-Pad", "Origin", "", "Content-Length")), "7"))
        elif what < 0.24:
            del headers[place]
        elif what < 0.42:
            headers[place] = headers[place][0], dice.choice(_VALUES)
        elif what < 0.50:
            headers.append(headers[place])
        elif what < 0.56:
            headers[place] = dice.choice(("\0", " ", "é", "A:B", "x" * 300)), headers[place][1]
        elif what < 0.60:
            headers += [("X-Pad", "y" * dice.choice((1, 60)))] * dice.choice((50, 130, 200, 500))
        elif what < 0.64:
            headers.append(("Sec-WebSocket-Extensions", dice.choice(_VALUES)))
        elif what < 0.68:
            headers.append(("Sec-WebSocket-Extensions", "permessage-deflate; x=" + "a" * 40))
        elif what < 0.76:
            start[dice.randrange(3)] = dice.choice(dice.choice((_METHODS, _TARGETS, _VERSIONS)))
        elif what < 0.80:
            end = dice.choice(("\n", "\r", "\r\n\r\n", "\n\r", "\0\r\n"))
        elif what < 0.84:
            dice.shuffle(headers)
            headers[0] = headers[0][0].swapcase(), headers[0][1]
        else:
            return _bytes_wrong(dice, write(headers, " ".join(start), end))
    return write(headers, " ".join(start), end)


def _bytes_wrong(dice: random.Random, request: bytes) -> bytes:
    data = bytearray(request)
    what = dice.random()
    if what < 0.45:
        for _ in range(dice.randrange(1, 8)):
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    elif what < 0.55:
        del data[dice.randrange(len(data)) :]
    elif what < 0.75:
        place = dice.randrange(len(data))
        data[place:place] = dice.randbytes(dice.randrange(1, 40))
    elif what < 0.85:
        data += dice.randbytes(dice.randrange(1, 400))
    elif what < 0.95:
        return dice.choice(_OTHER_TONGUES)
    else:
        return dice.randbytes(dice.choice((1, 100, 8191, 8192, 8193, 20_000)))
    return bytes(data)
