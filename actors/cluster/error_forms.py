"""How the errors that an asker can get cross between nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import pykka

from actors.cluster.errors import (
    DeliveryUnknown,
    MessageTooLarge,
    NotHere,
    RemoteFailure,
    RemoteRefusal,
)
from actors.runtime.errors import (
    ActorFailed,
    AskTimeout,
    Fenced,
    JournalClosed,
    MailboxFull,
    Quarantined,
    Refusal,
    StoreBusy,
    UnhandledMessage,
    Unstorable,
)
from actors.runtime.panic import shown


@dataclass(frozen=True, slots=True)
class ErrorForm:
    """How one class of errors crosses, and its subclasses that have no form of their own.

    Arguments:
        error: the class.
        name: its name between nodes. It must stay while versions run side by side.
        dump: takes an error apart, into plain data.
        load: makes an error of the parts.
    """

    error: type[BaseException]
    name: str
    dump: Callable[[Any], tuple[Any, ...]]
    load: Callable[..., BaseException]


def _text(error: BaseException) -> tuple[str]:
    return (shown(error, str),)


def _named(error: BaseException) -> tuple[str, str]:
    return type(error).__name__, shown(error, str)


def _remote(error: RemoteFailure | RemoteRefusal) -> tuple[str, str]:
    return error.error, error.text


def _failed(name: str, retry_after_s: float, cause: tuple[str, str] | None) -> ActorFailed:
    return ActorFailed(name, retry_after_s, None if cause is None else RemoteFailure(*cause))


def _timed_out(
    name: str, message: str, timeout_s: float, cause: tuple[str, str] | None
) -> AskTimeout:
    return AskTimeout(name, message, timeout_s, None if cause is None else RemoteFailure(*cause))


def _cause(error: ActorFailed | AskTimeout) -> tuple[str, str] | None:
    if isinstance(error.cause, RemoteFailure):
        return _remote(error.cause)
    return None if error.cause is None else _named(error.cause)


FORMS: Final = (
    ErrorForm(ActorFailed, "ActorFailed", lambda e: (e.name, e.retry_after_s, _cause(e)), _failed),
    ErrorForm(pykka.ActorDeadError, "ActorDeadError", _text, pykka.ActorDeadError),
    ErrorForm(MailboxFull, "MailboxFull", _text, MailboxFull),
    ErrorForm(
        AskTimeout, "AskTimeout", lambda e: (e.name, e.message, e.timeout_s, _cause(e)), _timed_out
    ),
    ErrorForm(
        DeliveryUnknown,
        "DeliveryUnknown",
        lambda e: (e.name, e.message, e.timeout_s, e.why),
        DeliveryUnknown,
    ),
    ErrorForm(
        Quarantined, "Quarantined", lambda e: (e.name, e.message, e.retry_after_s), Quarantined
    ),
    ErrorForm(
        UnhandledMessage, "UnhandledMessage", lambda e: (e.name, e.message), UnhandledMessage
    ),
    ErrorForm(
        MessageTooLarge,
        "MessageTooLarge",
        lambda e: (e.name, e.message, e.size, e.limit),
        MessageTooLarge,
    ),
    ErrorForm(NotHere, "NotHere", _text, NotHere),
    ErrorForm(StoreBusy, "StoreBusy", _text, StoreBusy),
    ErrorForm(Fenced, "Fenced", _text, Fenced),
    ErrorForm(Unstorable, "Unstorable", _text, Unstorable),
    ErrorForm(JournalClosed, "JournalClosed", _text, JournalClosed),
    ErrorForm(RemoteRefusal, "RemoteRefusal", _remote, RemoteRefusal),
    ErrorForm(Refusal, "Refusal", _named, RemoteRefusal),
    ErrorForm(RemoteFailure, "RemoteFailure", _remote, RemoteFailure),
    ErrorForm(BaseException, "Exception", _named, RemoteFailure),
)


class ErrorCodec:
    """Errors as bytes. The nearest class with a form decides.

    Raises ValueError for two forms of one name.
    """

    def __init__(self, more: Iterable[ErrorForm] = ()) -> None:
        forms = [*FORMS, *more]
        self._forms = {form.error: form for form in forms}
        self._by_name = {form.name: form for form in forms}
        if len(self._by_name) < len(forms):
            raise ValueError("two forms of errors have the same name")

    def encode(self, error: BaseException) -> tuple[str, bytes]:
        """Return the name of the form, and the parts of the error."""
        form = next(self._forms[cls] for cls in type(error).__mro__ if cls in self._forms)
        try:
            return form.name, msgspec.msgpack.encode(form.dump(error))
        except Exception as broken:  # its form failed, or gave parts that msgspec cannot encode
            return "Exception", msgspec.msgpack.encode((type(error).__name__, shown(broken)))

    def decode(self, name: str, parts: bytes) -> BaseException:
        """Return the error, or a RemoteFailure in place of one that this version does not know."""
        form = self._by_name.get(name)
        found = msgspec.msgpack.decode(parts)
        try:
            if form is not None:
                return form.load(*found)
        except Exception as broken:  # another version made the parts
            found = [shown(broken)]
        return RemoteFailure(name, ", ".join(map(str, found)))
