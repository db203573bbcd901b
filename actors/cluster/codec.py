"""`KindCodec`: how messages to actors of one kind, and what these answer, are bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from actors.cluster.crossing import PLAIN, answers_of, deadlines, problem, runtime_types
from actors.runtime.errors import UnhandledMessage
from actors.runtime.handlers import HandlerTable
from actors.runtime.kinds import Kind
from actors.runtime.ref import ActorRef

_ANY: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder()


class Names:
    """Turns refs into names and back, in the messages of one node.

    Arguments:
        ref: makes a ref of kind and key.
        placed: says whether the cluster knows where the actors of a kind are.
    """

    def __init__(self, ref: Callable[[str, str], ActorRef], placed: Callable[[str], bool]) -> None:
        self._ref = ref
        self._placed = placed

    def dump(self, value: Any) -> Any:
        """Encode a value of a type that msgspec does not know. Raises TypeError."""
        if not isinstance(value, ActorRef):
            raise TypeError(f"a {type(value).__name__} cannot cross between nodes")
        if not self._placed(value.kind):
            raise TypeError(
                f"{value} cannot cross between nodes: kind {value.kind!r} is local to its node"
            )
        return (value.kind, value.key)

    def load(self, wanted: type, value: Any) -> Any:
        """Decode a value of a type that msgspec does not know. Raises TypeError."""
        if wanted is not ActorRef:
            raise TypeError(f"a {wanted.__name__} cannot cross between nodes")
        return self._ref(*value)


class _Way(NamedTuple):
    """How a type crosses."""

    name: str
    cls: type
    decoder: msgspec.msgpack.Decoder[Any]
    deadlines: tuple[str, ...]
    answers: dict[type, _Way]
    by_name: dict[str, _Way]  # the answers


class KindCodec:
    """How messages and answers of one kind become bytes, and come back.

    It is made from the handlers of the kind's actor class, so it finds at once what cannot cross.

    A type is named by its class's name, so that modules may be moved while versions of a program
    run side by side.

    Arguments:
        kind: the kind.
        names: what a ref is between nodes.
        now: the clock of deadlines.

    Raises ValueError that names the kind, the type and the field which cannot cross.
    """

    def __init__(self, kind: Kind, names: Names, now: Callable[[], float]) -> None:
        self.kind = kind.name
        self.hints = kind.hints
        self.patient = kind.patient
        self._names = names
        self._now = now
        self._encoder = msgspec.msgpack.Encoder(enc_hook=names.dump)
        self._ways: dict[type, _Way] = {}
        self._by_name: dict[str, _Way] = {}
        for message_type, handler in _handlers(kind).items():
            answers = self._answers(kind, message_type, handler)
            way = self._way(message_type, message_type.__name__, answers)
            if way.name in self._by_name:
                raise ValueError(f"kind {kind.name!r}: two types of messages are named {way.name}")
            self._ways[message_type] = self._by_name[way.name] = way

    @property
    def taken(self) -> frozenset[type]:
        """The types of messages that an actor of the kind takes from other nodes."""
        return frozenset(self._ways)

    def _way(self, answer: Any, name: str, answers: dict[type, _Way]) -> _Way:
        if (why := problem(answer)) is not None:
            raise ValueError(f"kind {self.kind!r}: {name} cannot cross between nodes: {why}")
        decoder = msgspec.msgpack.Decoder(answer, dec_hook=self._names.load)
        by_name = {way.name: way for way in answers.values()}
        return _Way(name, answer, decoder, deadlines(answer), answers, by_name)

    def _answers(
        self, kind: Kind, message_type: type, handler: Callable[..., Any]
    ) -> dict[type, _Way]:
        where = f"kind {kind.name!r}: the handler of {message_type.__name__}"
        try:
            said = answers_of(handler)
        except NameError as error:
            raise ValueError(f"{where}: {error}") from None
        if said is None and not kind.answers:
            raise ValueError(
                f"{where} does not say by its annotation what it answers; Kind(answers=...) can"
            )
        ways: dict[type, _Way] = {}
        for answer in [*(said or ()), *kind.answers]:
            for cls in runtime_types(answer):
                if cls in PLAIN:
                    continue
                known = ways.get(cls)
                if known is None:
                    ways[cls] = self._way(answer, cls.__name__, {})
                elif known.cls != answer:
                    raise ValueError(f"{where} answers with {known.cls} and {answer}: which is it?")
        return ways

    # --- messages --------------------------------------------------------------------------------

    def encode(self, key: str, message: Any) -> tuple[str, bytes]:
        """Return the name of the message's type, and its bytes.

        Raises UnhandledMessage if no handler takes exactly this type from another node, and
        TypeError if something in the message cannot cross.
        """
        way = self._ways.get(type(message))
        if way is None:
            raise UnhandledMessage(f"{self.kind}/{key}", type(message).__name__)
        if way.deadlines:
            now = self._now()
            message = msgspec.structs.replace(
                message, **{name: getattr(message, name) - now for name in way.deadlines}
            )
        return way.name, self._encoder.encode(message)

    def decode(self, key: str, name: str, payload: bytes) -> Any:
        """Return the message. Raises UnhandledMessage, or msgspec.ValidationError."""
        way = self._by_name.get(name)
        if way is None:
            raise UnhandledMessage(f"{self.kind}/{key}", name)
        message = way.decoder.decode(payload)
        if way.deadlines:
            now = self._now()
            message = msgspec.structs.replace(
                message, **{each: getattr(message, each) + now for each in way.deadlines}
            )
        return message

    # --- answers ---------------------------------------------------------------------------------

    def encode_answer(self, asked: str, answer: Any) -> tuple[str, bytes]:
        """Return the name of the answer's type, and its bytes. Raises TypeError."""
        cls = type(answer)
        if cls in PLAIN:
            return "", self._encoder.encode(answer)
        way = self._by_name[asked].answers.get(cls)
        if way is None:
            raise TypeError(
                f"the answer to {asked}, a {cls.__name__}, cannot cross between nodes: the handler"
                f" does not say that it answers so"
            )
        return way.name, self._encoder.encode(answer)

    def decode_answer(self, asked: type | None, name: str, payload: bytes) -> Any:
        """Return the answer. Raises UnhandledMessage, or msgspec.ValidationError."""
        if not name:
            return _ANY.decode(payload)
        way = None if asked is None else self._ways[asked].by_name.get(name)
        if way is None:
            raise TypeError(f"an answer of an unknown type: {name}")
        return way.decoder.decode(payload)


def _handlers(kind: Kind) -> dict[type, Callable[..., Any]]:
    actor = kind.actor or kind.factory
    table = getattr(actor, "actor_handlers", None)
    if not isinstance(actor, type) or not isinstance(table, HandlerTable):
        raise ValueError(
            f"kind {kind.name!r}: Kind(actor=...) says which actors.Actor has the handlers"
        )
    if not table.crossing:
        raise ValueError(f"kind {kind.name!r}: {actor.__name__} has no handler for other nodes")
    return table.crossing
