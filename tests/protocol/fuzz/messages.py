"""Requests as PROTOCOL.md has them, and the ways to get them wrong."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import msgpack

from protocol.messages import EVERY_OP
from tests.protocol.fuzz import drawn

Plain = dict[Any, Any]

ROOMS = [f"fuzz-{number}" for number in range(24)]
SHARED_ROOM = "bystanders"
_MATCHES_KEPT = 64
_TOKENS_KEPT = 64

_OPS = [
    *EVERY_OP.ops,
    *EVERY_OP.pushes,
    "ok",
    "error",
    "room.fly",
    "",
    "op",
    "ROOM.JOIN",
    "room.join\0",
]

_HOSTILE: list[Callable[[random.Random], Any]] = [
    lambda _: None,
    lambda _: True,
    lambda dice: dice.choice([-1, 0, 2**53, 2**53 - 1, 2**63, 2**64 - 1, -(2**63)]),
    lambda dice: dice.choice([1.5, -0.0, 1e308, 5e-324, float("inf"), float("nan")]),
    lambda dice: dice.choice(["", "\0", "a" * 64, "a" * 65, "é" * 64, "a\n", " ", "../..", "%s"]),
    lambda dice: dice.choice(["\ud800", "\udfff\ud800", "\ufffe", "\u202e", "\U0010ffff"]),
    lambda dice: "x" * dice.choice([1024, 1025, 4096, 4097, 20_000]),
    lambda dice: [dice.randrange(9)] * dice.choice([0, 1, 3, 2000]),
    lambda dice: {f"k{n}": n for n in range(dice.choice([0, 1, 5, 1500]))},
    lambda dice: _nested(dice, dice.choice([2, 31, 32, 33, 200])),
    lambda dice: {"op": dice.choice(_OPS)},
]


class World:
    """What the attackers have learnt from the server: names of matches, and tokens to steal."""

    def __init__(self) -> None:
        self.matches: list[str] = ["arena-none"]
        self.tokens: list[str] = ["gKRhZGE.c2ln"]

    def learn(self, message: Plain) -> None:
        """Keep the names and tokens of an answer."""
        data = message.get("data")
        if isinstance(data, dict):
            if isinstance(data.get("token"), str):
                _keep(self.tokens, data["token"], _TOKENS_KEPT)
            if isinstance(data.get("match"), str) and message["op"] == "ok":
                _keep(self.matches, data["match"], _MATCHES_KEPT)


def _keep(line: list[str], one: str, limit: int) -> None:
    line.append(one)
    if len(line) > limit:
        del line[0]


def valid(dice: random.Random, world: World) -> Plain:
    """Return a request that the server should take, if the session is in the right state."""
    request = _expected(dice, world)
    if dice.random() < 0.1:
        named = [*ROOMS, *world.matches, "arena", *(f"room:{room}" for room in ROOMS)]
        request = drawn.request(dice, named)
    if dice.random() < 0.8:
        request["ref"] = dice.randrange(2**53) if dice.random() < 0.1 else dice.randrange(1000)
    return request


def _expected(dice: random.Random, world: World) -> Plain:
    """Return a request, about as often as real clients send it."""
    room = SHARED_ROOM if dice.random() < 0.02 else dice.choice(ROOMS)
    match = dice.choice(world.matches)
    kind = dice.random()
    if kind < 0.12:
        request: Plain = {"op": "room.join", "room": room}
    elif kind < 0.45:
        request = {"op": "room.send", "room": room, "body": dice.choice(["hi", "é" * 40, "x" * 99])}
        if dice.random() < 0.3:
            request["key"] = f"k-{dice.randrange(1000)}"
    elif kind < 0.53:
        request = {"op": "room.history", "room": room, "before": dice.randrange(50), "limit": 20}
    elif kind < 0.58:
        request = {"op": dice.choice(["room.members", "room.leave"]), "room": room}
    elif kind < 0.60:
        request = {"op": "match.create", "game": dice.choice(["arena", "tictactoe"]), "params": {}}
        if dice.random() < 0.3:
            request["params"] = {"goal": dice.randrange(1, 20), "orbs": dice.randrange(1, 20)}
    elif kind < 0.63:
        request = {"op": "match.list", "game": dice.choice([None, "arena"]), "limit": 10}
    elif kind < 0.70:
        request = {"op": dice.choice(["match.join", "match.join", "match.leave"]), "match": match}
    elif kind < 0.77:
        request = _of_objects(dice) if dice.random() < 0.7 else _of_accounts(dice)
    elif kind < 0.88:
        push = {"x": dice.uniform(-1, 1), "y": dice.uniform(-1, 1)}
        value: Plain = {"cell": dice.randrange(9)} if dice.random() < 0.4 else push
        request = {"op": "match.input", "match": match, "seq": dice.randrange(1, 10**6)}
        request["input"] = value
    elif kind < 0.92:
        request = {"op": dice.choice(["inbox.join", "inbox.join", "inbox.leave"])}
    elif kind < 0.94:
        request = {"op": "inbox.history", "before": dice.randrange(50), "limit": 20}
    elif kind < 0.95:
        request = {"op": "inbox.read", "offset": dice.randrange(50)}
    elif kind < 0.97:
        request = {"op": "ping"}
    elif kind < 0.99:
        request = resume(dice, world)
    else:
        request = {"op": "session.open", "name": "eve"}
    return request


def _of_objects(dice: random.Random) -> Plain:
    """Return a request of a player who saves objects and looks at those of others."""
    collection = dice.choice(["saves", "decks", "é"])
    name = {"collection": collection, "key": f"k-{dice.randrange(20)}"}
    what = dice.random()
    if what < 0.4:
        value = dice.choice(["{}", '{"gold": 30}', '"' + "x" * 900 + '"', "[", "1e999"])
        one: Plain = {**name, "value": value, "read": dice.choice(["owner", "public"])}
        if dice.random() < 0.3:
            one["version"] = dice.randrange(50)
        request: Plain = {"op": "storage.write", "objects": [one]}
        if dice.random() < 0.3:
            request["key"] = f"k-{dice.randrange(1000)}"
    elif what < 0.65:
        request = {"op": "storage.read", "objects": [name] * dice.randrange(4)}
    elif what < 0.75:
        request = {"op": "storage.delete", "objects": [name]}
    else:
        request = {"op": "storage.list", "collection": collection, "limit": dice.randrange(1, 100)}
        request["everyone"] = dice.random() < 0.5
        if dice.random() < 0.2:
            request["cursor"] = dice.choice(["rbwTQHrQWyJtYWluIiwgImd1ZXN0LXgyIl0", "x", "é"])
    return request


def _of_accounts(dice: random.Random) -> Plain:
    """Return a request of a guest who has no account, and looks at those of others."""
    what = dice.random()
    if what < 0.3:
        request: Plain = {"op": "account.update", "key": f"k-{dice.randrange(1000)}"}
        request["username"] = dice.choice(["ada", "раураl", "admin", "x" * 64, "\u0301", "é"])
        request["public_metadata"] = dice.choice(["{}", "[]", "{" * 500, '{"a":1e999}'])
    elif what < 0.6:
        request = {"op": "account.read", "users": ["guest-x"] * dice.randrange(4)}
    elif what < 0.9:
        request = {"op": "account.search", "prefix": dice.choice(["a", "ﷺ", "é", "\U0010ffff"])}
        if dice.random() < 0.3:
            request["cursor"] = dice.choice(["a", "zz", "é"])
    else:
        request = {"op": "account.get"}
    return request


def opening(dice: random.Random, world: World) -> Plain:
    """Return the first request of a connection."""
    if dice.random() < 0.85:
        return {"op": "session.open", "ref": 0, "name": f"attacker-{dice.randrange(100)}"}
    return resume(dice, world)


def resume(dice: random.Random, world: World) -> Plain:
    """Return a request that takes over a session, one's own or another's."""
    positions = {
        f"room:{dice.choice(ROOMS)}": {"epoch": dice.randrange(4), "offset": dice.randrange(300)}
        for _ in range(dice.randrange(4))
    }
    positions[f"match:{dice.choice(world.matches)}"] = {"epoch": 1, "offset": dice.randrange(4)}
    positions["user:guest-somebody"] = {"epoch": 1, "offset": dice.randrange(4)}
    return {
        "op": "session.resume", "ref": 0, "token": dice.choice(world.tokens),
        "positions": positions,
    }  # fmt: skip


def spoil(dice: random.Random, request: Plain) -> Plain:
    """Return a request with mistakes in one to three of its fields."""
    spoilt = dict(request)
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        field = dice.choice(list(spoilt)) if spoilt else "op"
        what = dice.random()
        if what < 0.45:
            spoilt[field] = dice.choice(_HOSTILE)(dice)
        elif what < 0.6:
            spoilt.pop(field, None)
        elif what < 0.7:
            spoilt[field.upper() if isinstance(field, str) else "x"] = spoilt.pop(field, None)
        elif what < 0.8:
            spoilt[dice.choice(["pad", "ref", "op", "key", ""])] = dice.choice(_HOSTILE)(dice)
        elif what < 0.9:
            spoilt["op"] = dice.choice(_OPS)
        elif isinstance(spoilt.get(field), dict):
            spoilt[field] = spoil(dice, spoilt[field])
        else:
            spoilt[field] = [spoilt.get(field)]
    return spoilt


def _nested(dice: random.Random, depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value] if dice.random() < 0.5 else {"a": value}
    return value


def encode(request: Any, *, json_text: bool) -> bytes:
    """Return the payload in an encoding. What cannot be encoded becomes invalid bytes."""
    if json_text:
        return json.dumps(request, ensure_ascii=False).encode("utf-8", "surrogatepass")
    packed: bytes = msgpack.packb(request, unicode_errors="surrogatepass")
    return packed


_LIES_MSGPACK = [
    b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xdc\xff\xff",
    b"\xc6\x7f\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01", b"\xd6\xff\0\0\0\0", b"\xc1",
    b"\x91" * 3000, b"\x81\xa1a" * 1000, b"\xcf" + b"\xff" * 8, b"\xcb\x7f\xf8" + bytes(6),
    b"\xa2\xff\xfe",
]  # fmt: skip
_LIES_JSON = [
    b"[" * 3000, b'{"a":' * 1000, b"9" * 400, b"-", b"1e999", b'"\\ud800"', b"\\u", b"\0", b"/**/",
    b"\xef\xbb\xbf", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b",", b'"', b"nul", b"NaN", b"Infinity",
]  # fmt: skip


def garble(dice: random.Random, payload: bytes, *, json_text: bool) -> bytes:
    """Return the bytes of a message with one to four of them changed."""
    data = bytearray(payload or b"\x80")
    for _ in range(dice.choice([1, 1, 2, 4])):
        place = dice.randrange(len(data) + 1) if data else 0
        what = dice.random()
        if what < 0.35 and place < len(data):
            data[place] ^= 1 << dice.randrange(8)
        elif what < 0.5:
            del data[place:]
        elif what < 0.6:
            del data[place : place + dice.randrange(1, 9)]
        elif what < 0.75:
            data[place:place] = dice.randbytes(dice.randrange(1, 9))
        elif what < 0.85:
            data[place:place] = data[: dice.randrange(1, 40)]
        else:
            lie = dice.choice(_LIES_JSON if json_text else _LIES_MSGPACK)
            data[place : place + dice.choice([0, 1, len(lie)])] = lie
    return bytes(data)
