"""What can cross between nodes, and that what cannot is found when its kind is registered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NewType

import msgspec
import pykka
import pytest
from hypothesis import given
from hypothesis import strategies as st

import actors
from actors import ActorRef, ActorSystem, Future, Kind
from actors.cluster.codec import KindCodec, Names
from actors.cluster.error_forms import ErrorCodec, ErrorForm
from actors.cluster.errors import (
    DeliveryUnknown,
    MessageTooLarge,
    NotHere,
    RemoteFailure,
    RemoteRefusal,
)
from actors.runtime.deadline import Deadline

from .sample import Add, Everything, Get, No, Tally

Name = NewType("Name", str)


class Plain(msgspec.Struct, frozen=True):
    value: int = 0


class WithFuture(msgspec.Struct, frozen=True):
    done: Future[int]


class Deep(msgspec.Struct, frozen=True):
    parts: list[dict[str, WithFuture | None]]


class Live:
    """A value that is not plain data."""


class WithLock(msgspec.Struct, frozen=True):
    lock: Live | None = None


class WithRaw(msgspec.Struct, frozen=True):
    raw: msgspec.Raw


class WithTwo(msgspec.Struct, frozen=True):
    which: Plain | Get


class Inner(msgspec.Struct, frozen=True):
    until: Deadline


class Outer(msgspec.Struct, frozen=True):
    inner: Inner


class TakesFuture(actors.Actor):
    @actors.handles(WithFuture)
    def take(self, message: WithFuture) -> None: ...


class TakesDeep(actors.Actor):
    @actors.handles(Deep)
    def take(self, message: Deep) -> None: ...


class TakesLock(actors.Actor):
    @actors.handles(WithLock)
    def take(self, message: WithLock) -> None: ...


class TakesRaw(actors.Actor):
    @actors.handles(WithRaw)
    def take(self, message: WithRaw) -> None: ...


class TakesTwo(actors.Actor):
    @actors.handles(WithTwo)
    def take(self, message: WithTwo) -> None: ...


class TakesOuter(actors.Actor):
    @actors.handles(Outer)
    def take(self, message: Outer) -> None: ...


class AnswersLock(actors.Actor):
    @actors.handles(Get)
    def get(self, message: Get) -> Future[WithLock]:
        raise NotImplementedError


class AnswersAnything(actors.Actor):
    @actors.handles(Get)
    def get(self, message: Get) -> Any: ...


class AnswersSomething(actors.Actor):
    @actors.handles(Get)
    def get(self, message: Get):  # type: ignore[no-untyped-def]
        ...


class AnswersTwoLists(actors.Actor):
    @actors.handles(Get)
    def get(self, message: Get) -> list[int] | list[str]:
        raise NotImplementedError


class AnswersAbstract(actors.Actor):
    @actors.handles(Get)
    def get(self, message: Get) -> Callable[[], int]:
        raise NotImplementedError


class Silent(actors.Actor):
    """An actor without handlers."""


class AnswersMuch(actors.Actor):
    @actors.handles(Get)
    async def get(self, message: Get) -> Plain | Future[Add | Name] | dict[str, int] | None: ...


class Threaded(actors.ThreadingActor):
    def on_receive(self, message: Any) -> Any: ...


def codec(actor: type[Any], **more: Any) -> KindCodec:
    names = Names(lambda kind, key: ActorRef(SYSTEM, kind, key), lambda kind: kind == "tally")
    return KindCodec(
        Kind("box", lambda _key: None, actor=actor, placement="hashed", **more), names, lambda: 0.0
    )


class _System:
    vacant = None


SYSTEM: Any = _System()


@pytest.mark.parametrize(
    ("actor", "what"),
    [
        (
            TakesFuture,
            "kind 'box': WithFuture cannot cross between nodes: done: Future is no",
        ),
        (TakesDeep, "kind 'box': Deep cannot cross between nodes: parts.done: Future is no"),
        (TakesLock, "kind 'box': WithLock cannot cross between nodes: lock: "),
        (TakesRaw, "kind 'box': WithRaw cannot cross between nodes: raw: a Raw does not say"),
        (TakesTwo, "kind 'box': WithTwo cannot cross between nodes: "),
        (TakesOuter, "kind 'box': Outer cannot cross between nodes: inner.until: a Deadline is"),
        (AnswersLock, "kind 'box': WithLock cannot cross between nodes: lock: "),
        (AnswersAnything, "kind 'box': the handler of Get does not say by its annotation"),
        (AnswersSomething, "kind 'box': the handler of Get does not say by its annotation"),
        (AnswersTwoLists, "kind 'box': the handler of Get answers with list"),
        (AnswersAbstract, "does not say what its values are"),
        (Silent, "kind 'box': Silent has no handler for other nodes"),
        (Threaded, "kind 'box': Kind.actor=.... says which actors.Actor has the handlers"),
    ],
)
def test_what_cannot_cross_is_named(actor: type[Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        codec(actor)


def test_a_class_that_cannot_be_found_is_named() -> None:
    class Hidden(msgspec.Struct, frozen=True):
        value: int

    class Takes(actors.Actor):
        @actors.handles(Hidden)
        def take(self, message: Hidden) -> Hidden:
            return message

    with pytest.raises(ValueError, match="the handler of Hidden: name 'Hidden' is not defined"):
        codec(Takes)


def test_two_messages_of_one_name_are_told_apart_at_once() -> None:
    other = msgspec.defstruct("Add", [("x", int)])

    class Takes(Tally):
        @actors.handles(other)
        def take(self, message: Any) -> None: ...

    with pytest.raises(ValueError, match="two types of messages are named Add"):
        codec(Takes)


def test_a_kind_says_what_its_annotations_do_not() -> None:
    box = codec(AnswersAnything, answers=(Plain, list[int]))
    assert box.encode_answer("Get", Plain(3))[0] == "Plain"
    name, payload = box.encode_answer("Get", [1, 2])
    assert box.decode_answer(Get, name, payload) == [1, 2]
    with pytest.raises(TypeError, match="the answer to Get, a Add, cannot cross"):
        box.encode_answer("Get", Add(1))


@pytest.mark.parametrize("answer", [Plain(1), Add(2), "x", Name("y"), {"a": 1}, None, 5, True, 0.5])
def test_an_answer_of_any_type_that_is_said_crosses(answer: Any) -> None:
    box = codec(AnswersMuch)
    name, payload = box.encode_answer("Get", answer)
    decoded = box.decode_answer(Get, name, payload)
    assert decoded == answer
    assert type(decoded) is type(answer)


def test_a_ref_of_a_local_kind_does_not_cross() -> None:
    box = codec(Tally)

    def everything(kind: str) -> Everything:
        ref = ActorRef(SYSTEM, kind, "x")
        return Everything(None, frozenset(), 0.0, b"", ref, None, None)  # type: ignore[arg-type]

    box.encode("1", everything("tally"))
    with pytest.raises(TypeError, match="<ActorRef probe/x> cannot cross between nodes: kind"):
        box.encode("1", everything("probe"))


def test_a_live_object_in_plain_data_does_not_cross() -> None:
    class Takes(actors.Actor):
        @actors.handles(dict)
        def take(self, message: Any) -> None: ...

    with pytest.raises(TypeError, match="a Future cannot cross between nodes"):
        codec(Takes).encode("1", {"x": Future()})


def test_a_subclass_of_a_message_does_not_cross_as_its_base() -> None:
    class More(Add, frozen=True):
        extra: int = 0

    with pytest.raises(actors.UnhandledMessage, match="box/1 has no handler for More"):
        codec(Tally).encode("1", More(1))


# --- errors --------------------------------------------------------------------------------------


def there_and_back(error: BaseException, *forms: ErrorForm) -> BaseException:
    codec = ErrorCodec(forms)
    return codec.decode(*codec.encode(error))


@pytest.mark.parametrize(
    "error",
    [
        pykka.ActorDeadError("a/1 has ended"),
        actors.ActorFailed("a/1", 3.5),
        actors.ActorFailed("a/1", float("inf"), RemoteFailure("KeyError", "'x'")),
        actors.MailboxFull("a/1: full"),
        actors.AskTimeout("a/1", "Get", 5.0),
        actors.AskTimeout("a/1", "Get", 5.0, RemoteFailure("KeyError", "'x'")),
        actors.Quarantined("a/1", "Get", 2.0),
        actors.UnhandledMessage("a/1", "Get"),
        actors.StoreBusy("too much"),
        actors.Fenced("by another"),
        actors.Unstorable("too long"),
        actors.JournalClosed("it stopped"),
        DeliveryUnknown("a/1", "Get", 5.0, "node b.2 is gone"),
        MessageTooLarge("a/1", "Get", 10, 5),
        NotHere("a/1 is not here"),
        RemoteFailure("KeyError", "'x'"),
        RemoteRefusal("No", "not today"),
    ],
)
def test_an_error_of_the_runtime_crosses_as_itself(error: BaseException) -> None:
    back = there_and_back(error)
    assert type(back) is type(error)
    assert str(back) == str(error)


def test_the_error_of_a_program_crosses_as_its_text() -> None:
    assert str(there_and_back(KeyError("x"))) == "KeyError: 'x'"
    assert isinstance(there_and_back(KeyError("x")), RemoteFailure)
    assert isinstance(there_and_back(No("not today")), RemoteRefusal)
    assert str(there_and_back(actors.ActorFailed("a/1", 1.0, KeyError("x")))) == (
        "a/1 failed: RemoteFailure('KeyError', \"'x'\"); it is tried again in 1.0 s"
    )


def test_a_program_can_say_how_its_errors_cross() -> None:
    form = ErrorForm(No, "No", lambda error: error.args, No)
    back = there_and_back(No("not today"), form)
    assert type(back) is No
    assert back.args == ("not today",)
    with pytest.raises(ValueError, match="same name"):
        ErrorCodec([form, form])


def test_an_error_whose_parts_cannot_cross_is_told_all_the_same() -> None:
    form = ErrorForm(No, "No", lambda error: (object(),), No)
    assert "not today" not in str(there_and_back(No("not today"), form))
    assert isinstance(there_and_back(No("not today"), form), RemoteFailure)


@given(st.text(), st.text())
def test_an_error_of_another_version_is_told_by_its_name(name: str, text: str) -> None:
    back = ErrorCodec().decode(name + "!", msgspec.msgpack.encode((text,)))
    assert isinstance(back, RemoteFailure)
    assert back.error == name + "!"


def test_the_errors_between_nodes_say_what_they_are() -> None:
    assert str(DeliveryUnknown("a/1", "Get", 5.0, "node b.2 is gone")) == (
        "whether a/1 has acted on Get is not known: node b.2 is gone"
    )
    assert str(MessageTooLarge("a/1", "Get", 2000, 1000)) == (
        "a/1: Get has 2,000 bytes, and between nodes a message has at most 1,000"
    )


async def test_a_kind_that_cannot_cross_is_refused_by_the_system(redis: Any, unique: str) -> None:
    from .nodes import open_nodes

    async with open_nodes(redis, unique, "a") as (a,):
        system: ActorSystem = a.system
        with pytest.raises(ValueError, match="done: Future is no plain data"):
            system.register(
                Kind("box", lambda _key: TakesFuture(), actor=TakesFuture, placement="one")
            )
        assert not system.registered("box")
        system.register(Kind("near", lambda _key: TakesFuture()))
