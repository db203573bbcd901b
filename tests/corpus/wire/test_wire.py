"""Old clients work with the present server, and the present client with old servers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocol.errors import RequestError
from protocol.messages import EVERY_OP
from protocol.messages.envelope import Ok
from tests.corpus.wire import v1_client as then
from tests.corpus.wire.playback import Playback
from tests.corpus.wire.stage import encoding_of, stage
from tests.corpus.wire.tape import FOLDER, Step, Tape, tapes

TAPES = tapes(1)
each_tape = pytest.mark.parametrize("tape", TAPES, ids=lambda tape: tape.name)


@each_tape
async def test_the_server_answers_a_client_of_before_as_it_did(
    tape: Tape, autojump_clock: Any
) -> None:
    async with stage() as house:
        await Playback(house, tape).play()


@each_tape
def test_the_server_reads_what_a_client_of_before_sent(tape: Tape) -> None:
    encoding = encoding_of(tape.encoding)
    for step in _steps(tape, "sent"):
        try:
            was = then.DECODE_REQUEST[tape.encoding](step.payload)
        except msgspec.DecodeError:
            with pytest.raises(RequestError):
                encoding.decode_request(step.payload)
            continue
        if b"deep" in step.payload:  # valid by its types; the codec's own check refuses it
            continue
        request = encoding.decode_request(step.payload)
        assert _has(msgspec.to_builtins(request), msgspec.to_builtins(was)), step


@each_tape
def test_the_client_reads_what_a_server_of_before_sent(tape: Tape) -> None:
    encoding = encoding_of(tape.encoding)
    asked: dict[tuple[str, int], str] = {}
    for step in tape.steps:
        if step.do == "sent":
            _note(asked, step)
        elif step.do == "got":
            was = then.DECODE_SERVER[tape.encoding](step.payload)
            message = encoding.decode_server(step.payload)
            assert _has(msgspec.to_builtins(message), msgspec.to_builtins(was)), step
            if isinstance(message, Ok):
                op = asked[step.who, message.ref]
                now, before = EVERY_OP.answers[op], then.DATA[op]
                assert (now is None) == (before is None)
                if now is not None and before is not None:
                    data = msgspec.to_builtins(msgspec.convert(message.data, now))
                    assert _has(data, msgspec.to_builtins(msgspec.convert(message.data, before)))


def test_the_tapes_have_every_op_and_every_push_of_before_in_both_encodings() -> None:
    for encoding in ("msgpack", "json"):
        sent, got = set(), set()
        for tape in TAPES:
            if tape.encoding == encoding:
                sent |= {_op(step) for step in _steps(tape, "sent")}
                got |= {_op(step) for step in _steps(tape, "got")}
        assert sent >= set(then.DATA)
        assert got >= {"ok", "error", *then.PUSHES}


def test_the_tapes_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("v1/*")) < 200_000


def _steps(tape: Tape, do: str) -> list[Step]:
    return [step for step in tape.steps if step.do == do]


def _op(step: Step) -> str:
    try:
        plain = step.plain()
    except msgspec.DecodeError:
        return ""
    return str(plain["op"]) if isinstance(plain, dict) else ""


def _note(asked: dict[tuple[str, int], str], step: Step) -> None:
    if op := _op(step):
        ref = step.plain().get("ref")
        if type(ref) is int:
            asked[step.who, ref] = op


def _has(now: Any, was: Any) -> bool:
    """Whether all of `was` is in `now`; there may be fields that came later."""
    if isinstance(was, dict) and isinstance(now, dict):
        return all(name in now and _has(now[name], value) for name, value in was.items())
    if isinstance(was, list) and isinstance(now, list):
        return len(now) == len(was) and all(map(_has, now, was))
    return type(now) is type(was) and bool(now == was)
