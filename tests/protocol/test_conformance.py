"""RFC 6455, section by section, by clients of three makes: see tests/protocol/peers.py."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import pytest

from protocol import frames
from protocol.codec import ENCODINGS, JSON, MSGPACK, Encoding
from protocol.errors import (
    CLOSES,
    INVALID_TEXT,
    PROTOCOL_ERROR,
    TOO_BIG,
    UNSUPPORTED_DATA,
    CloseCode,
)
from protocol.messages.envelope import Ok
from protocol.messages.session import Ping, SessionOpen
from tests.protocol.live import LONGEST, Echo, live, masked
from tests.protocol.peers import PEERS, Connect, Peer

PING = MSGPACK.encode(Ping(ref=1))

peers = pytest.mark.parametrize("connect", PEERS.values(), ids=PEERS)
both = pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=repr)


async def answered(peer: Peer, encoding: Encoding) -> Ok:
    """Return the next message, which must be an `ok`."""
    message = encoding.decode_server(await peer.message())
    assert isinstance(message, Ok), message
    return message


def asking(encoding: Encoding, ref: int = 1, pad: str = "héllo €") -> Sequence[Any]:
    """Return a ping in fragments of one character or byte each."""
    if encoding is JSON:
        return list(f'{{"op":"ping","ref":{ref},"pad":"{pad}"}}')
    payload = MSGPACK.encode(Ping(ref=ref))
    return [payload[place : place + 1] for place in range(len(payload))]


# --- section 5: frames ----------------------------------------------------------------------------


@peers
@both
async def test_one_message_may_come_in_any_fragments(connect: Connect, encoding: Encoding) -> None:
    """5.4: also in empty ones."""
    async with live() as server, connect(server, encoding) as peer:
        parts = asking(encoding)
        blank = parts[0][:0]
        whole = blank.join(parts)
        for fragments in (
            [whole], [blank, whole], [whole, blank], [blank, blank, whole, blank],
            [whole[:5], whole[5:]], parts,
        ):  # fmt: skip
            await peer.send(fragments)
            assert (await answered(peer, encoding)).ref == 1
        (handler,) = server.handlers
        assert handler.errors == []


@peers
@both
@pytest.mark.parametrize("size", [0, 1, 125])
async def test_control_frames_may_come_between_fragments(
    connect: Connect, encoding: Encoding, size: int
) -> None:
    """5.4, 5.5: and each is answered before the message ends."""
    async with live() as server, connect(server, encoding) as peer:
        await peer.send(asking(encoding), ping=b"p" * size)
        assert (await answered(peer, encoding)).ref == 1


@peers
async def test_a_pong_that_nobody_asked_for_is_ignored(connect: Connect) -> None:
    """5.5.3."""
    async with live() as server, connect(server, MSGPACK) as peer:
        await peer.put(masked(frames.PONG, b"unasked"))
        await peer.ping(b"still there")
        await peer.send([PING])
        assert (await answered(peer, MSGPACK)).ref == 1


@peers
@both
@pytest.mark.parametrize("size", [0, 60, 100, 125, 126, 1000, 65_400, 65_535, 65_536, 100_000])
async def test_lengths_of_all_three_kinds_are_understood(
    connect: Connect, encoding: Encoding, size: int
) -> None:
    """5.2: 7, 16 and 64 bits, from the server; and to it, up to its limit."""

    def answer(echo: Echo) -> None:
        echo.connection.reply(Ok(1, "x" * size))

    async with live(opened=answer) as server, connect(server, encoding) as peer:
        payload = encoding.encode(SessionOpen(name="ada"))
        await peer.send([payload.decode()] if encoding is JSON else [payload])
        assert (await answered(peer, encoding)).data == "x" * size
        if encoding is JSON and size < 65_500:
            await peer.send(['{"op":"ping","ref":2,"pad":"%s"}' % ("y" * size)])
            assert (await answered(peer, encoding)).ref == 2


@peers
@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x00\x80\x7f\x01"])
async def test_any_mask_is_taken(connect: Connect, mask: bytes) -> None:
    """5.3."""
    async with live() as server, connect(server, MSGPACK) as peer:
        body = bytes(byte ^ mask[place % 4] for place, byte in enumerate(PING))
        await peer.put(bytes((0x82, 0x80 | len(PING))) + mask + body)
        assert (await answered(peer, MSGPACK)).ref == 1


BREACHES = {
    "5.1 not masked": (frames.frame(frames.BINARY, PING), PROTOCOL_ERROR),
    "5.1 a ping not masked": (frames.frame(frames.PING, b""), PROTOCOL_ERROR),
    "5.1 a close not masked": (frames.frame(frames.CLOSE, b""), PROTOCOL_ERROR),
    **{
        f"5.2 reserved bits {bits:03b} of {name}": (masked(opcode, PING, rsv=bits), PROTOCOL_ERROR)
        for bits in range(1, 8)
        for name, opcode in (("data", frames.BINARY), ("a ping", frames.PING))
    },
    **{
        f"5.2 opcode {opcode}": (masked(opcode, b""), PROTOCOL_ERROR)
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    },
    "5.2 a length with its highest bit": (b"\x82\xff" + b"\xff" * 8 + b"mask", TOO_BIG),
    "5.4 nothing to continue": (masked(frames.CONT, PING), PROTOCOL_ERROR),
    "5.4 nothing to continue any more": (
        masked(frames.BINARY, PING[:1], fin=False) + masked(frames.CONT, PING[1:]) * 2,
        PROTOCOL_ERROR,
    ),
    "5.4 a message within a message": (
        masked(frames.BINARY, b"a", fin=False) + masked(frames.BINARY, b"b"),
        PROTOCOL_ERROR,
    ),
    "5.4 reserved bits of a continuation": (
        masked(frames.BINARY, b"a", fin=False) + masked(frames.CONT, b"b", rsv=4),
        PROTOCOL_ERROR,
    ),
    **{
        f"5.5 {name} too long": (masked(opcode, b"x" * 126), PROTOCOL_ERROR)
        for name, opcode in (("ping", frames.PING), ("pong", frames.PONG), ("close", frames.CLOSE))
    },
    **{
        f"5.5 {name} in fragments": (masked(opcode, b"", fin=False), PROTOCOL_ERROR)
        for name, opcode in (("ping", frames.PING), ("pong", frames.PONG), ("close", frames.CLOSE))
    },
    "5.5.1 half a code": (masked(frames.CLOSE, b"\x03"), PROTOCOL_ERROR),
    **{
        f"7.4 code {code}": (masked(frames.CLOSE, struct.pack("!H", code)), PROTOCOL_ERROR)
        for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
    },
    "7.1.6 a reason that is not UTF-8": (
        masked(frames.CLOSE, struct.pack("!H", 1000) + b"\xff"),
        INVALID_TEXT,
    ),
    "7.4.1 text where binary is spoken": (masked(frames.TEXT, PING), UNSUPPORTED_DATA),
    # Its head is enough: what follows would come while a peer answers the close.
    "7.4.1 too big": (masked(frames.BINARY, bytes(LONGEST + 1))[:999], TOO_BIG),
    "7.4.1 too big in fragments": (
        masked(frames.BINARY, bytes(LONGEST - 9), fin=False) + masked(frames.CONT, bytes(10)),
        TOO_BIG,
    ),
}


@peers
@pytest.mark.parametrize(("sent", "code"), BREACHES.values(), ids=BREACHES)
async def test_a_breach_has_its_close_code(connect: Connect, sent: bytes, code: CloseCode) -> None:
    async with live() as server, server.client() as bystander:
        async with connect(server, MSGPACK) as peer:
            await peer.ping(b"")
            await peer.put(sent)
            assert (await peer.closed())[0] == code.code
        handler = await server.handler(1)
        await handler.gone.wait()
        assert [close for close, _ in handler.ended] == [code]
        await bystander.pong()


# --- section 7: closing ---------------------------------------------------------------------------


@peers
@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999])
async def test_a_clients_close_comes_back(connect: Connect, code: int) -> None:
    """7.1.5, 7.4: every code that may be on the wire; the reason need not come back."""
    async with live() as server:
        async with connect(server, MSGPACK) as peer:
            await peer.ping(b"")
            assert (await peer.close(code, "bye"))[0] == code
        handler = await server.handler()
        await handler.gone.wait()
        assert handler.ended == [(code, "bye")]


@peers
@pytest.mark.parametrize("row", CLOSES.values(), ids=lambda row: row.name)
async def test_the_servers_closes_are_understood(connect: Connect, row: CloseCode) -> None:
    """7.4.2: each row of the table, with a reason of 123 bytes at most."""

    def close(echo: Echo) -> None:
        echo.connection.close(row, "é" * 100)

    async with live(opened=close) as server, connect(server, MSGPACK) as peer:
        await peer.send([MSGPACK.encode(SessionOpen(name="ada"))])
        code, reason = await peer.closed()
        assert code == row.code
        assert reason.startswith(f"{row.name}: é")


# --- section 8: UTF-8 -----------------------------------------------------------------------------

GOOD = ["", "\0", "\x7f", "\u0080", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\uffff", "\U00010000",
        "\U0010ffff", "\ufffe", "\ufffd", "\u202e", "κόσμε"]  # fmt: skip
BAD = [
    b"\x80", b"\xbf", b"\xc0\x80", b"\xc1\xbf", b"\xc2", b"\xc2\x41", b"\xe0\x80\x80", b"\xe2\x82",
    b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf0\x80\x80\x80", b"\xf0\x8f\xbf\xbf",
    b"\xf0\x9f", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfe",
    b"\xff", b"\xfc\x84\x80\x80\x80\x80", b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80",
]  # fmt: skip


@peers
async def test_text_that_is_utf_8_is_taken_to_its_edges(connect: Connect) -> None:
    async with live() as server, connect(server, JSON) as peer:
        for ref, text in enumerate(GOOD):
            escaped = "\\u0000" if text == "\0" else text  # JSON has no bare control characters
            await peer.send(asking(JSON, ref, escaped))
            assert (await answered(peer, JSON)).ref == ref
        (handler,) = server.handlers
        assert handler.errors == []


@peers
@pytest.mark.parametrize("payload", BAD, ids=bytes.hex)
async def test_text_that_is_not_utf_8_is_closed(connect: Connect, payload: bytes) -> None:
    async with live() as server, connect(server, JSON) as peer:
        await peer.put(
            masked(frames.TEXT, b'{"op":"ping","x":"', fin=False)
            + masked(frames.CONT, payload[:1], fin=False)
            + masked(frames.CONT, payload[1:] + b'"}')
        )
        assert (await peer.closed())[0] == INVALID_TEXT.code
