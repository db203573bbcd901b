"""A line that is being typed while others talk.

In a terminal's own line mode a message that comes would land in the middle of what one types, and
what one has typed cannot be read back. So keys are taken one by one, the line is kept here, and
each message is printed above it. No curses: one line, its end, Backspace, Ctrl-U, Ctrl-W, Ctrl-D.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import shutil
import signal
import sys
import termios
import tty
import unicodedata
from collections.abc import Iterator
from typing import TextIO

import trio

_BIDI = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}  # they would turn the rest of the line


def plain(text: str) -> str:
    """Text of others, fit to be printed: no control characters, which can rewrite a screen."""
    return "".join(
        " ⏎ "
        if char == "\n"
        else "·"
        if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} or ord(char) in _BIDI
        else char
        for char in text
    )


class Editor:
    """The line under way: keys in, lines out. No I/O."""

    def __init__(self) -> None:
        self.text = ""
        self.ended = False
        """Ctrl-D on an empty line."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._escape = ""

    def feed(self, data: bytes) -> list[str]:
        """Take what was typed; return the lines it finished."""
        lines = []
        for char in self._decoder.decode(data):
            if self._escape:
                self._in_escape(char)
            elif char in "\r\n":
                lines.append(self.text)
                self.text = ""
            elif char == "\x04":
                self.ended = self.ended or not self.text
            else:
                self._edit(char)
        return lines

    def shown(self, width: int) -> str:
        """The end of the line that fits into `width` columns."""
        columns, start = 0, len(self.text)
        while start > 0:
            columns += _columns(self.text[start - 1])
            if columns > width:
                break
            start -= 1
        return self.text[start:]

    def _edit(self, char: str) -> None:
        if char in "\x7f\b":
            self.text = self.text[:-1]
        elif char == "\x15":  # Ctrl-U
            self.text = ""
        elif char == "\x17":  # Ctrl-W
            self.text = self.text.rstrip().rpartition(" ")[0]
            self.text += " " if self.text else ""
        elif char == "\x1b":
            self._escape = char
        elif char == "\t" or unicodedata.category(char) != "Cc":
            self.text += " " if char == "\t" else char

    def _in_escape(self, char: str) -> None:
        # Arrow and function keys: ESC [ ... final, ESC O final (ECMA-48, 5.4). They do nothing.
        self._escape += char
        introducer = len(self._escape) == 2 and char in "[O"
        if not introducer and "@" <= char <= "~":
            self._escape = ""


class Prompt:
    """Where lines are typed and messages appear: a terminal, or a pipe in and out."""

    def __init__(self, stdin: int = 0, out: TextIO | None = None) -> None:
        self._stdin = stdin
        self._out = out if out is not None else sys.stdout
        if isinstance(self._out, io.TextIOWrapper):
            # Others may write what this terminal has no letters for: that ends nothing.
            self._out.reconfigure(errors="replace")
        self.interactive = os.isatty(stdin) and self._out.isatty()
        self._editor = Editor()

    @contextlib.contextmanager
    def taken_over(self) -> Iterator[None]:
        """Take keys one by one while inside; the terminal is given back as it was."""
        if not self.interactive:
            yield
            return
        before = termios.tcgetattr(self._stdin)
        # TCSANOW: the others wait until the terminal has shown everything, which one that is held
        # with Ctrl-S never does. Ctrl-C still is a signal.
        tty.setcbreak(self._stdin, termios.TCSANOW)
        try:
            self._draw()
            yield
        finally:
            termios.tcsetattr(self._stdin, termios.TCSANOW, before)
            self._write("\r\x1b[K")

    def say(self, line: str) -> None:
        """Print one line above the one that is typed, as `plain` text."""
        line = plain(line)
        if self.interactive:
            self._write(f"\r\x1b[K{line}\n")
            self._draw()
        else:
            self._write(f"{line}\n")

    async def lines(self) -> list[str] | None:
        """The next lines typed, maybe none; None: the input has ended."""
        if self._editor.ended:  # behind a line that came with it
            return None
        data = await self._read()
        if not data:
            rest, self._editor.text = self._editor.text, ""
            return [rest] if rest else None
        finished = self._editor.feed(data)
        if self.interactive:
            self._draw()
        return finished

    async def _read(self) -> bytes:
        # Neither sys.stdin nor a thread: a thread that waits in a read holds the lock of sys.stdin,
        # and Python aborts at exit over it.
        try:
            await trio.lowlevel.wait_readable(self._stdin)
        except OSError:
            await trio.lowlevel.checkpoint()  # a file or /dev/null: epoll refuses it, reads do not
        try:
            return os.read(self._stdin, 4096)
        except OSError:
            return b""  # there is no stdin, or its terminal is gone

    def _draw(self) -> None:
        width = shutil.get_terminal_size().columns - 3
        self._write(f"\r\x1b[K> {self._editor.shown(width)}")

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except BrokenPipeError:
            # Nobody reads any more: leave as by a signal. What is still buffered must not fail
            # again at exit (docs.python.org, "Note on SIGPIPE").
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())
            signal.raise_signal(signal.SIGTERM)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1
