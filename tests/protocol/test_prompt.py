from __future__ import annotations

import io
import os
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from protocol.prompt import Editor, Prompt, plain


def typed(*chunks: bytes) -> tuple[Editor, list[str]]:
    editor = Editor()
    return editor, [line for chunk in chunks for line in editor.feed(chunk)]


def test_lines_end_with_return_or_newline_and_the_rest_is_kept() -> None:
    editor, lines = typed(b"one\rtwo\nthr", b"ee")
    assert lines == ["one", "two"]
    assert editor.text == "three"


def test_the_keys_that_edit() -> None:
    assert typed(b"abc\x7f\x7fd\r")[1] == ["ad"]
    assert typed(b"abc\x15d\r")[1] == ["d"]
    assert typed(b"one two three\x17\x17four\r")[1] == ["one four"]
    assert typed(b"a\x1b[Ab\x1b[1;5Cc\x1bOPd\x1b[3~e\r")[1] == ["abcde"]
    assert typed(b"a\tb\x07\r")[1] == ["a b"]


def test_ctrl_d_ends_an_empty_line_only() -> None:
    assert typed(b"\x04")[0].ended
    assert not typed(b"a\x04")[0].ended


def test_a_character_may_come_in_pieces() -> None:
    snowman = "☃".encode()
    assert typed(snowman[:1], snowman[1:], b"\r")[1] == ["☃"]


def test_what_is_shown_is_the_end_that_fits() -> None:
    editor, _ = typed("abc漢字".encode())
    assert editor.shown(80) == "abc漢字"
    assert editor.shown(5) == "c漢字"
    assert editor.shown(4) == "漢字"
    assert editor.shown(0) == ""


@given(st.binary())
def test_whatever_is_typed_no_control_character_gets_into_a_line(data: bytes) -> None:
    editor = Editor()
    lines = editor.feed(data)
    assert not any(unicodedata.category(char) == "Cc" for char in "".join([*lines, editor.text]))


@given(st.text())
def test_text_of_others_is_printed_without_control_characters(text: str) -> None:
    shown = plain(text)
    assert not any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in shown)
    assert not set("\u202e\u2066\u2069") & set(shown)
    assert plain("hi ada ☃ é") == "hi ada ☃ é"


async def test_a_pipe_gives_its_lines_and_an_unfinished_last_one() -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"one\ntwo")
    os.close(write_end)
    prompt = Prompt(read_end, io.StringIO())
    assert await prompt.lines() == ["one"]
    assert await prompt.lines() == ["two"]
    assert await prompt.lines() is None
    os.close(read_end)


async def test_input_that_cannot_be_waited_for_is_read_all_the_same(tmp_path: object) -> None:
    for path in ("/dev/null", __file__):
        file = os.open(path, os.O_RDONLY)
        prompt = Prompt(file, io.StringIO())
        count = 0
        while (lines := await prompt.lines()) is not None:
            count += len(lines)
        assert (count > 50) is (path == __file__)
        os.close(file)
    assert await Prompt(9999, io.StringIO()).lines() is None
