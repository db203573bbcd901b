"""`CommandKind`: a type of command and the function that runs it."""

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
    """A type of command, and one of two functions that run it.

    Attributes:
        service: the service that brings the command.
        name: the command's name. It is part of what answers are kept with, so it must stay when the
            class is renamed.
        command: the type.
        answer: the type of the answer; None: the answer is None.
        locks: `locks(command)` returns names for what the command changes and others change as
            well, such as "wallet:ada". The worker takes these locks for all commands of a
            transaction together, in one order. Without them, transactions of many commands would
            lock rows in different orders and deadlock, until PostgreSQL ends one of them after a
            second.
        run: `run(transaction, command)` returns the answer or raises a refusal. It may be called
            again for the same command after a rollback, so it must not change anything but the
            transaction.
        run_all: `run_all(transaction, commands)` returns the outcomes of many commands, in order:
            an answer, or an exception to raise at the asker. It must write nothing for a command
            that it refuses. It is for hot paths: the whole batch goes as arrays into one statement.

    Raises ValueError if it has both functions, or neither.
    """

    service: str
    name: str
    command: type[msgspec.Struct]
    answer: type[msgspec.Struct] | None = None
    locks: Callable[[Any], Iterable[str]] | None = None
    run: RunOne | None = None
    run_all: RunAll | None = None

    def __post_init__(self) -> None:
        """Check that there is one function."""
        if (self.run is None) == (self.run_all is None):
            raise ValueError(f"command {self.name}: give either run or run_all")

    def hash(self, command: msgspec.Struct) -> bytes:
        """Return a hash of the command (SHA-256), to tell it from another one with the same key."""
        return hashlib.sha256(self.name.encode() + b"\0" + _encode(command)).digest()

    def encode(self, answer: Any) -> bytes:
        """Return an answer as it is stored."""
        return _encode(answer)

    def decode(self, answer: bytes) -> Any:
        """Return a stored answer."""
        return msgspec.msgpack.decode(answer, type=self.answer)


class CommandTable:
    """All kinds of commands of a server, by the type of the command.

    Arguments:
        kinds: the kinds.
        refusals: the types of exceptions with which a command refuses. Any other exception is a
            mistake in the command's function, and goes to the asker as well.

    Raises ValueError if two kinds have the same type, or the same service and name.
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
        """Return the kind of a command. Raises LookupError if nothing runs it."""
        kind = self._by_type.get(type(command))
        if kind is None:
            raise LookupError(f"nothing runs a {type(command).__name__}")
        return kind
