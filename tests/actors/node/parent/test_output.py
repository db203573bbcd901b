"""What nodes print becomes lines of the parent's log."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from actors.node.parent.output import LONGEST_BYTES, NodeOutput


def told(*pieces: bytes, people: bool) -> list[str]:
    lines: list[str] = []
    output = NodeOutput("web-1", lines.append, people=people)
    for piece in pieces:
        output.feed(piece)
    output.end()
    assert all(line.endswith("\n") for line in lines)
    return [line[:-1] for line in lines]


def test_people_see_the_name_before_each_line() -> None:
    assert told(b"up\n\x1b[1mbold\x1b[0m\n", people=True) == [
        "web-1 | up",
        "web-1 | \x1b[1mbold\x1b[0m",
    ]


def test_an_object_gets_the_name_as_its_first_field() -> None:
    (line,) = told(b'{"event":"draining","on":"SIGTERM"}\n', people=False)
    assert line == '{"node":"web-1","event":"draining","on":"SIGTERM"}'


def test_any_other_line_becomes_an_object() -> None:
    lines = told(b'Fatal Python error: Aborted\n\n{"cut": \n', people=False)
    objects = [json.loads(line) for line in lines]
    assert [one["event"] for one in objects] == ["Fatal Python error: Aborted", '{"cut": ']
    assert all((one["node"], one["level"]) == ("web-1", "warning") for one in objects)


def test_the_last_line_may_lack_its_end() -> None:
    assert told(b"one\ntw", b"o", people=True) == ["web-1 | one", "web-1 | two"]


def test_a_line_without_an_end_is_cut_in_pieces() -> None:
    pieces = told(b"x" * LONGEST_BYTES, b"y\n", people=True)
    assert pieces == ["web-1 | " + "x" * LONGEST_BYTES, "web-1 | y"]


LINES = st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"])))


@given(lines=LINES, data=st.data())
def test_no_line_is_lost_however_it_comes(lines: list[str], data: st.DataObject) -> None:
    whole = "".join(f"{line}\n" for line in lines).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)))))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert told(*pieces, people=True) == [f"web-1 | {line}" for line in lines]


@given(
    st.binary()
    | st.lists(st.sampled_from([b'{"', b"{}", b'"a"', b":1", b"}", b"\n"])).map(b"".join)
)
@example(b'{"}')
@example(b"{}")
def test_in_json_every_line_is_an_object(printed: bytes) -> None:
    for line in told(printed, people=False):
        assert json.loads(line)["node"] == "web-1"
