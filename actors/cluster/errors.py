"""What can go wrong between nodes, beside what can go wrong between actors."""

from __future__ import annotations

from actors.runtime.errors import AskTimeout, NoHost, Refusal


class _Remote(Exception):  # noqa: N818 -- named like what is made of it
    """What another node says of an exception: `error` is the name of its type, `text` its text."""

    def __init__(self, error: str, text: str) -> None:
        super().__init__(error, text)
        self.error = error
        self.text = text

    def __str__(self) -> str:
        return f"{self.error}: {self.text}" if self.text else self.error


class RemoteFailure(_Remote):
    """A handler on another node raised an exception that cannot cross as itself.

    `error` is the name of its type, `text` what it says.
    """


class RemoteRefusal(_Remote, Refusal):
    """A handler on another node raised a `Refusal` that cannot cross as itself.

    `error` is the name of its type, `text` what it says.
    """


class DeliveryUnknown(AskTimeout):
    """The answer will not come: the other node is gone, or the bus lost messages meanwhile.

    Whether the actor has acted on the message is not known. `why` says what happened.
    """

    def __init__(self, name: str, message: str, timeout_s: float, why: str) -> None:
        super().__init__(name, message, timeout_s)
        self.why = why

    def __str__(self) -> str:
        return f"whether {self.name} has acted on {self.message} is not known: {self.why}"


class MessageTooLarge(Exception):  # noqa: N818 -- named like MailboxFull
    """The message, or the answer to it, is longer than what may cross between nodes.

    `name` is the actor's, kind/key, `message` the type, `size` and `limit` are bytes.
    """

    def __init__(self, name: str, message: str, size: int, limit: int) -> None:
        super().__init__(name, message, size, limit)
        self.name = name
        self.message = message
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.message} has {self.size:,} bytes, and between nodes a message has"
            f" at most {self.limit:,}"
        )


class NotHere(Refusal):
    """The message reached a node that does not hold the actor, and was sent on too often.

    Nobody has acted on it. It may succeed a moment later.
    """


class NoNode(NoHost):
    """The kind is kept to nodes with a label, and no such node lives."""

    def __init__(self, name: str, label: str) -> None:
        which = f"has the label {label!r}" if label else "is for kinds without a label"
        super().__init__(name, f"no living node {which}")
