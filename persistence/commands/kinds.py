"""Which function runs which command."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from persistence.commands.transaction import Transaction

_encode: Final = msgspec.msgpack.Encoder().encode

RunOne = Callable[[Transaction, Any], Any]
RunAll = Callable[[Transaction, Sequence[Any]], Sequence[Any]]


class CommandKind(msgspec.Struct, frozen=True, kw_only=True):
    """A type of command and what runs it.

    `name` is part of what a key is remembered with: keep it when the class is renamed.

    `locks(command)` names what it changes that others change, too ("wallet:ada"). The frame takes
    these locks for all commands of a transaction together, in one order. Without it two
    transactions of many commands each lock rows as they come, and wait for one another in a circle
    until PostgreSQL ends one of them, after a second.

    Exactly one of:
    `run(transaction, command)` returns the answer or raises a refusal. It may be called again for
    the same command, after what it wrote was rolled back, so it touches the transaction alone.
    `run_all(transaction, commands)` answers each of many at once, in order, with a value or with an
    exception to raise at its asker; of a command that it refuses it has written nothing. For hot
    paths: the whole batch goes as arrays into one statement.
    """

    service: str
    name: str
    command: type[msgspec.Struct]
    answer: type[msgspec.Struct] | None = None
    locks: Callable[[Any], Iterable[str]] | None = None
    run: RunOne | None = None
    run_all: RunAll | None = None

    def __post_init__(self) -> None:
        """Raises ValueError: it has both functions, or none."""
        if (self.run is None) == (self.run_all is None):
            raise ValueError(f"command {self.name}: give either run or run_all")

    def hash(self, command: msgspec.Struct) -> bytes:
        """What tells this command from another that bears the same key: SHA-256."""
        return hashlib.sha256(self.name.encode() + b"\0" + _encode(command)).digest()

    def encode(self, answer: Any) -> bytes:
        """An answer as it is remembered."""
        return _encode(answer)

    def decode(self, answer: bytes) -> Any:
        """And back."""
        return msgspec.msgpack.decode(answer, type=self.answer)


class CommandTable:
    """All kinds of a server, found by the type of the command.

    Arguments:
        kinds: each type of command once.
        refusals: what a function raises to say no. Anything else that it raises is its mistake,
            and is raised at the asker all the same.

    Raises ValueError: two kinds of one type, or of one service and name.
    """

    def __init__(
        self, kinds: Iterable[CommandKind], refusals: tuple[type[Exception], ...] = ()
    ) -> None:
        self.refusals = refusals
        self._by_type: dict[type, CommandKind] = {}
        names: set[tuple[str, str]] = set()
        for kind in kinds:
            if kind.command in self._by_type or (kind.service, kind.name) in names:
                raise ValueError(f"command {kind.name} of {kind.service} is there twice")
            self._by_type[kind.command] = kind
            names.add((kind.service, kind.name))

    def of(self, command: msgspec.Struct) -> CommandKind:
        """The kind of a command. Raises LookupError: nothing runs it."""
        kind = self._by_type.get(type(command))
        if kind is None:
            raise LookupError(f"nothing runs a {type(command).__name__}")
        return kind
