"""A client's frames (RFC 6455, section 5), right and wrong."""

from __future__ import annotations

import random

from protocol.server.settings import WireSettings

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

_TOO_BIG = WireSettings().max_message_bytes + 1


def header(
    opcode: int,
    length: int,
    mask: bytes | None,
    *,
    fin: bool = True,
    rsv: int = 0,
    width: int = 0,
) -> bytes:
    """Return the head of a frame.

    `width` 2 or 8: the length has so many bytes, even if fewer would do.
    """
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    flag = 0 if mask is None else 0x80
    if width == 8 or length >= 1 << 16:
        head = bytes((first, flag | 127)) + length.to_bytes(8, "big")
    elif width == 2 or length > 125:
        head = bytes((first, flag | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, flag | length))
    return head + (mask or b"")


def mask_with(mask: bytes, payload: bytes) -> bytes:
    """Mask a payload, as one big integer: that is 50 times faster than byte by byte."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def frame(dice: random.Random, opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """Return a whole masked frame. Now and then its length has more bytes than it needs."""
    mask = dice.randbytes(4)
    width = dice.choice((2, 8)) if dice.random() < 0.02 else 0
    return header(opcode, len(payload), mask, fin=fin, width=width) + mask_with(mask, payload)


def fragments(dice: random.Random, opcode: int, payload: bytes) -> list[bytes]:
    """Return a message in several frames, some of them empty, with control frames between them."""
    cuts = sorted(dice.randrange(len(payload) + 1) for _ in range(dice.randrange(1, 6)))
    parts = [
        payload[start:end] for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)
    ]
    sent = []
    for place, part in enumerate(parts):
        fin = place == len(parts) - 1
        sent.append(frame(dice, opcode if place == 0 else CONT, part, fin=fin))
        if not fin and dice.random() < 0.3:
            sent.append(control(dice))
    return sent


def control(dice: random.Random) -> bytes:
    """Return a valid ping or pong."""
    return frame(dice, dice.choice((PING, PONG)), dice.randbytes(dice.choice((0, 3, 125))))


BREACHES = (
    "rsv", "opcode", "unmasked", "control in parts", "control too long", "stray continuation",
    "message within a message", "wrong kind", "not utf-8", "close", "too big", "longer than said",
    "shorter than said", "length beyond reason", "bit of the head", "noise", "cut off",
)  # fmt: skip


def breach(dice: random.Random, opcode: int, payload: bytes) -> tuple[str, bytes]:
    """Return a frame that breaks the protocol, or changes the meaning of what follows it."""
    name = dice.choice(BREACHES)
    mask = dice.randbytes(4)
    masked = mask_with(mask, payload)
    size = len(payload)
    match name:
        case "rsv":
            data = header(opcode, size, mask, rsv=dice.randrange(1, 8)) + masked
        case "opcode":
            wrong = dice.choice((3, 4, 5, 6, 7, 11, 12, 13, 14, 15))
            data = header(wrong, size, mask) + masked
        case "unmasked":
            data = header(opcode, size, None) + payload
        case "control in parts":
            data = header(dice.choice((CLOSE, PING, PONG)), 2, mask, fin=False) + mask[:2]
        case "control too long":
            long = dice.randbytes(dice.choice((126, 127, 4000)))
            data = header(dice.choice((CLOSE, PING, PONG)), len(long), mask) + long
        case "stray continuation":
            data = header(CONT, size, mask) + masked
        case "message within a message":
            data = header(opcode, size, mask, fin=False) + masked + frame(dice, opcode, payload)
        case "wrong kind":
            data = header(TEXT + BINARY - opcode, size, mask) + masked
        case "not utf-8":
            data = frame(dice, opcode, payload[: size // 2] + b"\xed\xa0\x80\xff" + payload)
        case "close":
            code = dice.choice((0, 999, 1000, 1001, 1004, 1005, 1006, 1015, 2999, 3000, 4999, 5000))
            data = frame(
                dice, CLOSE, (code.to_bytes(2, "big") + dice.randbytes(5))[: dice.randrange(8)]
            )
        case "too big":
            data = frame(dice, opcode, payload + b"x" * _TOO_BIG)
        case "longer than said":
            data = header(opcode, max(0, size - dice.randrange(1, 9)), mask) + masked
        case "shorter than said":
            data = header(opcode, size + dice.randrange(1, 300), mask) + masked
        case "length beyond reason":
            data = (
                header(opcode, dice.choice((_TOO_BIG, 2**31, 2**63 - 1, 2**64 - 1)), mask) + masked
            )
        case "bit of the head":
            flipped = bytearray(header(opcode, size, mask) + masked)
            flipped[dice.randrange(2)] ^= 1 << dice.randrange(8)
            data = bytes(flipped)
        case "noise":
            data = dice.randbytes(dice.randrange(1, 200))
        case _:
            whole = header(opcode, size, mask) + masked
            data = whole[: dice.randrange(1, len(whole) + 1)]
    return name, data
