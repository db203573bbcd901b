"""What crosses between nodes: an entry of the bus holds a list of these.

A tag is never used again for anything else. A node that does not know the tag of an item, which a
newer version has sent, skips the item and reads the others. New fields go to the end and have
defaults.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec


class Item(msgspec.Struct, array_like=True, frozen=True, gc=False, tag_field="tag"):
    """The base of all."""


class Addressed(Item, frozen=True, gc=False):
    """For one actor, by kind and key.

    `epoch` is that of the newest claim of the actor's slot that the sender knew of; 0 if the key
    names the node. A receiver that knows only older claims does not know yet who holds the slot.
    """

    kind: str
    key: str
    epoch: int


class ForMailbox(Addressed, frozen=True, gc=False):
    """For an actor's mailbox: the name of the type and the bytes."""

    type: str
    payload: bytes


class Tell(ForMailbox, frozen=True, gc=False, tag=1):
    """A message that wants no answer."""


class Notice(ForMailbox, frozen=True, gc=False, tag=2):
    """A told message that passes a full mailbox."""


class Ask(ForMailbox, frozen=True, gc=False, tag=3):
    """A message whose answer goes to the asking node under this number, within `timeout_s`."""

    number: int
    timeout_s: float


class Send(ForMailbox, frozen=True, gc=False, tag=4):
    """A told message that waits for room in the mailbox. The answer is True once it is in."""

    number: int


class StopActor(Addressed, frozen=True, gc=False, tag=5):
    """Stop the actor. The answer says whether there was one."""

    number: int


class Started(Addressed, frozen=True, gc=False, tag=6):
    """Ask for an answer once the actor has started, or failed to. The answer says which."""

    number: int


class Watch(Addressed, frozen=True, gc=False, tag=7):
    """Ask to be told once when the actor ends."""


class Unwatch(Addressed, frozen=True, gc=False, tag=8):
    """Ask not to be told after all."""


class ActorEnded(Item, frozen=True, gc=False, tag=9):
    """An actor that was watched has ended."""

    kind: str
    key: str
    reason: str


class Answer(Item, frozen=True, gc=False, tag=10):
    """The answer to the item with this number.

    `type` names its type; empty: it is a plain value.
    """

    number: int
    type: str
    payload: bytes


class Failed(Item, frozen=True, gc=False, tag=11):
    """An error in place of an answer: its name, and the parts that it is made of."""

    number: int
    error: str
    parts: bytes


class Forwarded(Item, frozen=True, gc=False, tag=12):
    """An item of another node, sent on by one that does not hold the actor.

    `epoch` is as in the item, but as the node that sends it on knows it.
    """

    origin: str
    epoch: int
    hops: int
    item: bytes


class Canary(Item, frozen=True, gc=False, tag=13):
    """A node sends this to itself, to see that the way through the store is open.

    `at_s` is the time of sending, on its own clock.
    """

    at_s: float


class EntriesLost(Item, frozen=True, gc=False, tag=14):
    """Tells the receiver that entries of its own did not arrive, and are lost."""


class Flush(Item, frozen=True, gc=False, tag=15):
    """Asks the old holder of slots to send this on to the new one, behind all that was for them.

    The new holder answers the origin with `Flushed`. `epochs` are those of the new holder's claims.
    """

    origin: str
    to: str
    number: int
    slots: tuple[int, ...]
    epochs: tuple[int, ...]


class Flushed(Item, frozen=True, gc=False, tag=16):
    """All that came before the flush of this number has arrived here."""

    number: int


class Holders(Item, frozen=True, gc=False, tag=17):
    """The sender has given these slots to `holder`; "": to nobody, as the last node that leaves.

    `view` is the version of the view by which it did so. The receiver may not know that view yet.
    """

    holder: str
    view: int
    slots: tuple[int, ...]
    epochs: tuple[int, ...]


AnyItem = (
    Tell
    | Notice
    | Ask
    | Send
    | StopActor
    | Started
    | Watch
    | Unwatch
    | ActorEnded
    | Answer
    | Failed
    | Forwarded
    | Canary
    | EntriesLost
    | Flush
    | Flushed
    | Holders
)


class BusEntry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What one node has put into the stream of another at once.

    Attributes:
        sender: the id of the node.
        number: counts the sender's entries in this stream, from 1 on.
        items: in the order in which they were sent.
    """

    sender: str
    number: int
    items: list[AnyItem]


class _Loose(msgspec.Struct, array_like=True, frozen=True, gc=False):
    sender: str
    number: int
    items: list[msgspec.Raw]


_encoder: Final = msgspec.msgpack.Encoder()
_entry: Final = msgspec.msgpack.Decoder(BusEntry)
_loose: Final = msgspec.msgpack.Decoder(_Loose)
_item: Final[msgspec.msgpack.Decoder[Any]] = msgspec.msgpack.Decoder(AnyItem)

encode_item: Final = _encoder.encode
decode_item: Final = _item.decode


def decode_entry(data: bytes) -> tuple[BusEntry, int]:
    """Return an entry, and how many of its items this version does not know.

    Raises msgspec.DecodeError if the bytes are not an entry.
    """
    try:
        return _entry.decode(data), 0
    except msgspec.ValidationError:
        loose = _loose.decode(data)
    known: list[AnyItem] = []
    for raw in loose.items:
        try:
            known.append(_item.decode(raw))
        except msgspec.ValidationError:
            continue
    return BusEntry(loose.sender, loose.number, known), len(loose.items) - len(known)
