"""The fuzz in its short form: a live server process, both encodings, floods, handshakes."""

from __future__ import annotations

import random

import pytest

from protocol.codec import JSON, MSGPACK
from protocol.messages import EVERY_OP
from tests.protocol.fuzz import drawn, frames, handshakes, messages
from tests.protocol.fuzz.judge import Judge
from tests.protocol.fuzz.run import Plan, perform
from tests.protocol.fuzz.tally import Tally


def test_no_bytes_of_clients_harm_a_server() -> None:
    plan = Plan(
        seed=1,
        frames=3_000,
        handshakes=150,
        settle_s=20.0,
    )
    report = perform(plan)
    assert report.violations == []
    assert report.mutated >= plan.frames
    assert sum(report.handshakes.values()) >= plan.handshakes
    assert report.bystanders["acknowledged"] == report.bystanders["sent"] > 0
    assert {"1000", "1002"} <= set(report.closes)


def test_a_fuzz_is_the_same_for_the_same_seed() -> None:
    def once() -> list[bytes]:
        dice, world = random.Random(5), messages.World()
        sent = []
        for _ in range(200):
            request = messages.spoil(dice, messages.valid(dice, world))
            payload = messages.encode(request, json_text=True)
            sent += frames.fragments(dice, frames.TEXT, payload)
            sent.append(frames.breach(dice, frames.TEXT, payload)[1])
            sent.append(handshakes.mutated(dice))
        return sent

    assert once() == once()


def test_whatever_op_is_declared_is_sent_and_right() -> None:
    dice, seen = random.Random(7), set()
    for _ in range(500):
        request = drawn.request(dice, ["lobby", "room:lobby", "0123456789abcdef"])
        seen.add(request["op"])
        JSON.decode_request(messages.encode(request, json_text=True))
        MSGPACK.decode_request(messages.encode(request, json_text=False))
    assert seen == set(EVERY_OP.ops)


def judged(sent: bytes, *, may_echo: bool = False) -> list[str]:
    tally = Tally()
    judge = Judge(tally, json_text=True)
    judge.may_echo = may_echo
    judge.feed(sent)
    return tally.violations


def server(opcode: int, payload: bytes, *, rsv: int = 0) -> bytes:
    return frames.header(opcode, len(payload), None, rsv=rsv) + payload


@pytest.mark.parametrize(
    "sent",
    [
        server(frames.TEXT, b'{"op":"ok"}', rsv=4),
        server(frames.BINARY, b'{"op":"ok"}'),
        server(frames.TEXT, b"{"),
        server(frames.TEXT, b'{"op":"room.fly"}'),
        server(frames.TEXT, b'{"op":"error","ref":1,"code":"internal"}'),
        server(frames.TEXT, b'{"op":"error","ref":1,"code":"who knows"}'),
        server(frames.CLOSE, (1011).to_bytes(2, "big")),
        server(frames.CLOSE, (4003).to_bytes(2, "big")),
        server(frames.CLOSE, (4998).to_bytes(2, "big")),
        server(frames.CLOSE, (1000).to_bytes(2, "big")) + server(frames.PING, b""),
        server(frames.PING, b"x" * 126),
    ],
)
def test_the_judge_sees_what_must_not_be(sent: bytes) -> None:
    assert len(judged(sent)) == 1


def test_the_judge_passes_what_may_be() -> None:
    fine = server(frames.TEXT, b'{"op":"ok","ref":1}') + server(frames.PONG, b"x" * 125)
    assert judged(fine + server(frames.CLOSE, (1002).to_bytes(2, "big"))) == []
    assert judged(server(frames.CLOSE, (4998).to_bytes(2, "big")), may_echo=True) == []
