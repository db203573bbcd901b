"""A tape: what passed between some clients and a server, in order, and what was done to both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

FOLDER: Final = Path(__file__).parent

Deed = Literal[
    "connect", "sent", "got", "closed", "breaks", "wait", "crash", "trip", "gift", "refuse"
]


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a tape.

    connect   connection `who` is made
    sent      `who` sends a message: `text` of JSON, or `data`
    got       `who` gets one
    closed    the server closes the connection of `who` with `code`
    breaks    the network cuts `who` off
    wait      `seconds` pass
    crash     room `what` crashes
    trip      the next `code` ticks or inputs of game `what` crash their match
    gift      in the next `code` ticks a player finds an orb
    refuse    the server has too much to do, and refuses all of `refs` of `who` in one message
    """

    do: Deed
    who: str = ""
    text: str = ""
    data: bytes = b""
    code: int = 0
    seconds: float = 0.0
    what: str = ""
    refs: Sequence[int] = ()

    @property
    def payload(self) -> bytes:
        """Of a message."""
        return self.data or self.text.encode()

    def plain(self) -> Any:
        """Return the message as any client reads it."""
        return msgspec.msgpack.decode(self.data) if self.data else msgspec.json.decode(self.text)


class Tape(msgspec.Struct, frozen=True):
    """What one scene left, in one encoding."""

    scene: str
    encoding: Literal["msgpack", "json"]
    steps: Sequence[Step]

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.scene}.{self.encoding}"


class _Head(msgspec.Struct, frozen=True):
    scene: str
    encoding: Literal["msgpack", "json"]


def write_tape(folder: Path, tape: Tape) -> None:
    """JSON lines: the head, then a step a line."""
    lines = [_Head(tape.scene, tape.encoding), *tape.steps]
    (folder / f"{tape.name}.jsonl").write_bytes(msgspec.json.Encoder().encode_lines(lines))


def read_tape(path: Path) -> Tape:
    """What `write_tape` wrote."""
    head, _, rest = path.read_bytes().partition(b"\n")
    made = msgspec.json.decode(head, type=_Head)
    steps = msgspec.json.Decoder(Step).decode_lines(rest)
    return Tape(made.scene, made.encoding, steps)


def tapes(version: int) -> list[Tape]:
    """All that were recorded of a version."""
    return [read_tape(path) for path in sorted((FOLDER / f"v{version}").glob("*.jsonl"))]
