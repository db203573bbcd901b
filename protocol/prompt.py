"""A prompt for a terminal, at which one line is typed while messages appear above it.

In a terminal's own line mode, a message would be printed into the middle of the line that is being
typed, and a program cannot read that line back. So keys are read one by one, the line is kept here,
and each message is printed above it. The line has an end only, without a cursor to move: Backspace,
Ctrl-U, Ctrl-W and Ctrl-D are understood.
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

_BIDI = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}  # characters that turn the text direction


def plain(text: str) -> str:
    """Return another user's text without control characters, which could rewrite the screen."""
    return "".join(
        " ⏎ "
        if char == "\n"
        else "·"
        if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} or ord(char) in _BIDI
        else char
        for char in text
    )


class Editor:
    """The line that is being typed. It takes keys and gives finished lines, without any I/O."""

    def __init__(self) -> None:
        self.text = ""
        self.ended = False
        """Whether Ctrl-D was typed on an empty line."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._escape = ""

    def feed(self, data: bytes) -> list[str]:
        """Take typed bytes, and return the lines that they finish."""
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
        """Return the end of the line that fits into `width` columns."""
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
        # Arrow and function keys send ESC [ ... final or ESC O final (ECMA-48, 5.4). They do
        # nothing.
        self._escape += char
        introducer = len(self._escape) == 2 and char in "[O"
        if not introducer and "@" <= char <= "~":
            self._escape = ""


class Prompt:
    """Reads lines and prints messages, at a terminal or with pipes."""

    def __init__(self, stdin: int = 0, out: TextIO | None = None) -> None:
        self._stdin = stdin
        self._out = out if out is not None else sys.stdout
        if isinstance(self._out, io.TextIOWrapper):
            # Other users may write characters that this terminal's encoding does not have.
            self._out.reconfigure(errors="replace")
        self.interactive = os.isatty(stdin) and self._out.isatty()
        self._editor = Editor()

    @contextlib.contextmanager
    def taken_over(self) -> Iterator[None]:
        """Read keys one by one inside the block. The terminal's mode is restored at its end."""
        if not self.interactive:
            yield
            return
        before = termios.tcgetattr(self._stdin)
        # TCSANOW, because the other modes wait until the terminal has shown everything, and one
        # that was stopped with Ctrl-S never does. Ctrl-C still sends a signal.
        tty.setcbreak(self._stdin, termios.TCSANOW)
        try:
            self._draw()
            yield
        finally:
            termios.tcsetattr(self._stdin, termios.TCSANOW, before)
            self._write("\r\x1b[K")

    def say(self, line: str) -> None:
        """Print a line of `plain` text above the line that is being typed."""
        line = plain(line)
        if self.interactive:
            self._write(f"\r\x1b[K{line}\n")
            self._draw()
        else:
            self._write(f"{line}\n")

    async def lines(self) -> list[str] | None:
        """Return the next lines that were typed, perhaps none; None once the input has ended."""
        if self._editor.ended:  # by a Ctrl-D that came together with the last lines
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
        # A thread that reads sys.stdin would hold the lock of sys.stdin, and Python aborts at exit
        # if that is held.
        try:
            await trio.lowlevel.wait_readable(self._stdin)
        except OSError:
            await trio.lowlevel.checkpoint()  # a file or /dev/null, which epoll refuses to watch
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
            # Nobody reads the output any more, so end as if by a signal. Buffered output must not
            # fail again at exit (docs.python.org, "Note on SIGPIPE").
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())
            signal.raise_signal(signal.SIGTERM)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1
