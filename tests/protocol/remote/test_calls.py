"""What becomes of requests in any order of sends, replies, breaks and callers who give up."""

from __future__ import annotations

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from protocol.codec import JSON
from protocol.messages import EVERY_OP
from protocol.messages.envelope import ErrorReply, Ok, Request
from protocol.messages.match import MatchCreate, MatchInput
from protocol.messages.op import op_of
from protocol.messages.room import RoomHistory, RoomSend
from protocol.messages.session import SessionClose, SessionOpen, SessionResume
from protocol.remote.calls import Call, Calls
from protocol.remote.errors import ClientError, ConnectionLost, Disconnected, RequestFailed

KEYED = RoomSend(room="r", body="hi", key="k")
BARE = RoomSend(room="r", body="hi")


def add(calls: Calls, request: Request) -> Call:
    return calls.add(request, JSON.encode, lambda data: data)


def test_what_acts_again_is_repeated_only_with_its_key() -> None:
    repeated = {op.request for op in EVERY_OP.ops.values() if op.repeat == "harmless"}
    assert repeated.isdisjoint({SessionOpen, SessionResume, SessionClose, RoomSend, MatchCreate})

    def may_repeat(request: Request) -> bool:
        return EVERY_OP.ops[op_of(request)].may_repeat(request)

    assert may_repeat(KEYED)
    assert not may_repeat(BARE)
    assert may_repeat(MatchInput(match="m", seq=1, input=None))
    assert not may_repeat(MatchCreate(game="g"))


def test_whose_repeat_depends_on_a_key_has_one() -> None:
    for op in EVERY_OP.ops.values():
        assert (op.repeat == "by key") == ("key" in op.request.__struct_fields__)


def test_a_break_fails_what_must_not_be_repeated_and_queues_the_rest_first() -> None:
    calls = Calls()
    keyed, bare = add(calls, KEYED), add(calls, BARE)
    calls.next_to_send()
    calls.next_to_send()
    later = add(calls, BARE)
    calls.broke()
    assert isinstance(bare.error, ConnectionLost)
    assert calls.next_to_send() is keyed
    assert calls.next_to_send() is later
    assert calls.next_to_send() is None


def test_an_error_reply_is_raised_with_its_code() -> None:
    calls = Calls()
    call = add(calls, RoomHistory(room="r"))
    calls.next_to_send()
    assert calls.settle(ErrorReply(call.ref, "busy", "The receiver's queue is full.", True))
    assert isinstance(call.error, RequestFailed)
    assert (call.error.op, call.error.code, call.error.retry) == ("room.history", "busy", True)


def test_an_answer_that_breaks_the_protocol_fails_its_request_only() -> None:
    calls = Calls()
    call = calls.add(BARE, JSON.encode, lambda data: msgspec.convert(data, int))
    calls.next_to_send()
    calls.settle(Ok(call.ref, "no number"))
    assert isinstance(call.error, ClientError)


def test_a_late_reply_finds_nobody() -> None:
    calls = Calls()
    call = add(calls, BARE)
    calls.next_to_send()
    calls.forget(call)
    assert not calls.settle(Ok(call.ref))
    assert not calls.settle(ErrorReply(None, "bad_message", ""))


class RequestsOverBreaks(RuleBasedStateMachine):
    """Each request gets one outcome; keyless ones leave at most once; order is kept."""

    @initialize()
    def begin(self) -> None:
        self.calls = Calls()
        self.open: dict[int, Call] = {}
        self.wire: list[int] = []
        self.times: dict[int, int] = {}

    @rule(keyed=st.booleans())
    def ask(self, keyed: bool) -> None:
        call = add(self.calls, KEYED if keyed else BARE)
        self.open[call.ref] = call

    @rule()
    def send(self) -> None:
        call = self.calls.next_to_send()
        if call is not None:
            assert not self.wire or self.wire[-1] < call.ref
            self.wire.append(call.ref)
            self.times[call.ref] = self.times.get(call.ref, 0) + 1
            assert call.repeatable or self.times[call.ref] == 1

    @rule(data=st.data())
    def reply(self, data: st.DataObject) -> None:
        if self.wire:
            ref = data.draw(st.sampled_from(self.wire))
            known = ref in self.open
            assert self.calls.settle(Ok(ref, ref)) is known
            if known:
                assert self.open.pop(ref).result() == ref

    @rule()
    def give_up(self) -> None:
        if self.open:
            _, call = self.open.popitem()
            self.calls.forget(call)
            assert not call.done.is_set()

    @rule()
    def cut(self) -> None:
        self.calls.broke()
        for ref in self.wire:
            call = self.open.get(ref)
            if call is not None and not call.repeatable:
                assert isinstance(self.open.pop(ref).error, ConnectionLost)
        self.wire.clear()

    @invariant()
    def nobody_is_forgotten(self) -> None:
        assert len(self.calls) == len(self.open)
        assert not any(call.done.is_set() for call in self.open.values())

    def teardown(self) -> None:
        self.calls.end(lambda: Disconnected("over"))
        errors = [call.error for call in self.open.values()]
        assert all(isinstance(error, Disconnected) for error in errors)
        assert len({id(error) for error in errors}) == len(errors)


RequestsOverBreaks.TestCase.settings = settings(max_examples=150, deadline=None)
TestRequestsOverBreaks = RequestsOverBreaks.TestCase
