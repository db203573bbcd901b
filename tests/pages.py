"""The pages for readers, taken apart: what they link to, name, show and promise.

Three conventions make a page testable. A fenced block that begins with `# name.ext` is the file of
that name. A ```text block is the output of the program before it. Indented lines are commands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tests.server_process import ROOT

_FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"# (\w+\.\w+)\n")
_COMMENT = re.compile(r"\s{2,}#.*")


class Block(NamedTuple):
    """A fenced block.

    `file` is the name of the file that it is. `prints` has the ```text blocks right after it.
    """

    language: str
    text: str
    file: str | None
    prints: list[str]


class Page(NamedTuple):
    """A page of Markdown, by its path from the root."""

    name: str
    text: str

    @property
    def folder(self) -> Path:
        return (ROOT / self.name).parent

    @property
    def prose(self) -> str:
        """The text without fenced blocks."""
        return _FENCED.sub("", self.text)

    @property
    def blocks(self) -> list[Block]:
        found = []
        for (language, text), (after, shown) in pairwise([*_FENCED.findall(self.text), ("", "")]):
            file = _FILE.match(text)
            prints = shown.splitlines() if after == "text" else []
            found.append(Block(language, text, file[1] if file else None, prints))
        return found

    @property
    def files(self) -> dict[str, str]:
        """The files that the page tells its reader to save."""
        return {block.file: block.text for block in self.blocks if block.file is not None}

    @property
    def programs(self) -> list[Block]:
        """The blocks of Python that can be run as they stand."""
        return [
            block
            for block in self.blocks
            if block.language == "python" and not (block.file and block.file != "play.py")
        ]

    @property
    def commands(self) -> list[str]:
        """The commands that its reader types: indented lines, and commands in backticks."""
        lines = re.findall(r"^    (\S.*)$", self.prose.replace("\\\n", " "), re.MULTILINE)
        lines += re.findall(r"`((?:[.\w/]*python -m|make) [^`]+)`", self.prose)
        for table in re.split(r"\n\n", self.prose):  # | command `python -m bench.…` | ...
            head = re.match(r"\| command `(python -m \w+\.)…`", table)
            if head is not None:
                cells = re.findall(r"^\| ((?:`[^`]+`(?:, )?)+) \|", table, re.MULTILINE)
                lines += [head[1] + word for cell in cells for word in re.findall("`(.*?)`", cell)]
        return [_COMMENT.sub("", line).strip() for line in lines]

    @property
    def links(self) -> list[str]:
        """The targets of its links, except those to other sites."""
        targets = re.findall(r"\]\(([^)\s]+)\)", self.prose)
        return [target for target in targets if "://" not in target]

    @property
    def words(self) -> set[str]:
        """The words in backticks."""
        return set(re.findall(r"`([^`\n]+)`", self.prose))

    @property
    def anchors(self) -> set[str]:
        """The anchors that a link can name: its headings, as GitHub writes them."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def page(name: str) -> Page:
    """The page at this path from the root."""
    return Page(name, (ROOT / name).read_text(encoding="utf-8"))


def pages() -> Iterator[Page]:
    """Every README, the protocol and the page on scaling: what is written for a reader."""
    for name in ("README.md", "protocol/PROTOCOL.md", "actors/node/SCALING.md"):
        yield page(name)
    for top in ("actors", "protocol", "persistence", "examples", "bench", "tests"):
        for path in sorted((ROOT / top).rglob("README.md")):
            if "node_modules" not in path.parts:
                yield page(str(path.relative_to(ROOT)))
