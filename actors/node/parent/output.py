"""Turns what a node prints into lines of the parent's log."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import msgspec

LONGEST_BYTES: Final = 1_048_576
"""A longer line is cut into pieces."""
LAST_WORDS: Final = "greenroom: "
"""What the line of a command begins with that cannot go on."""


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class NodeOutput:
    """The lines of one output of a node, on their way to the log.

    In a log for people each line begins with the node's name. In a log of JSON a line of the node's
    log is an object already, and gets the name as its first field, `node`; any other line, such as
    the traceback of a crash of Python itself, becomes an object.

    Arguments:
        name: the node's.
        write: takes a line. It must neither wait nor raise.
        people: whether the log is for people.

    Attributes:
        words: the last line by which a command says what it ends of, without its first word; "":
            there was none.
    """

    def __init__(self, name: str, write: Callable[[str], None], *, people: bool) -> None:
        self.words = ""
        self._name = name
        self._write = write
        self._people = people
        self._field = f'{{"node":{json.dumps(name)},'
        self._rest = b""

    def feed(self, data: bytes | bytearray) -> None:
        """Take bytes that were read from the output."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._tell(line)
        while len(self._rest) >= LONGEST_BYTES:
            self._tell(self._rest[:LONGEST_BYTES])
            self._rest = self._rest[LONGEST_BYTES:]

    def end(self) -> None:
        """Take the end of the output. The last line may lack its newline."""
        if self._rest:
            self._tell(self._rest)
            self._rest = b""

    def _tell(self, raw: bytes) -> None:
        line = raw.decode(errors="backslashreplace")
        if line.startswith(LAST_WORDS):
            self.words = line.removeprefix(LAST_WORDS).strip()
        if self._people:
            self._write(f"{self._name} | {line}\n")
        elif _is_object(raw):
            self._write(f"{self._field}{line[1:]}\n")
        elif line.strip():
            now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
            told = {"node": self._name, "timestamp": now, "level": "warning", "event": line}
            self._write(json.dumps(told) + "\n")


def _is_object(line: bytes) -> bool:
    """Whether a line is a JSON object with at least one field. The check takes 1 to 2 us."""
    if not line.startswith(b'{"'):
        return False
    try:
        return bool(_fields(line))
    except msgspec.DecodeError:
        return False
