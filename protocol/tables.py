"""`python -m protocol.tables`: write what follows from the table of ops: the tables of PROTOCOL.md
and HTTP.md, and the types and tables of the TypeScript client.

The facts in the tables come from the code. The prose of the page is kept, and so is the last column
of each table of fields, which says what a field means. A new message needs a heading in the page
first, and a meaning for each field afterwards: the exit code is 1 while one lacks it. Examples are
written in JSON; each is followed here by the same message in msgpack, as hex. With `--check`
nothing is written, and the exit code is 1 if a file is out of date as well.

The built files of the TypeScript client are built from what is written here: `make js`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
from msgspec import inspect

from protocol.errors import CLOSES, ERRORS
from protocol.messages import EVERY_OP
from protocol.messages.op import OnRepeat, Op, fields_of
from protocol.typescript import Struct, sources

PAGE = Path(__file__).with_name("PROTOCOL.md")
HTTP_PAGE = Path(__file__).with_name("HTTP.md")

REPEATS = "The life of a connection"
"""The heading above what a client may send again."""

Row = Sequence[str]

_HEADING = re.compile(r"(?m)^#{1,4} (.+)$")
_TABLE = re.compile(r"(?m)^\|.*\|\n\|[-|]+\|\n(?:\|.*\|\n)*")
_NO_FIELDS = "No fields of its own."
_AGAIN = re.compile(r"Send again only .+?\.(?=\n)", re.DOTALL)
_EXAMPLE = re.compile(r"```json\n(.+?)\n```\n(?:\n*```hex\n.*?\n```\n)?", re.DOTALL)
_HEX_LINE = 95
"""How many characters a line of hex has: 32 bytes."""
_ANSWER = re.compile(r"Answer: .+?\. Errors: .+?\.(?=\s)", re.DOTALL)


class OutOfPlace(Exception):  # noqa: N818 - said of the page
    """The page has no heading for something that it must describe, or an example is no JSON."""


def title(struct: Struct) -> str:
    """Return the heading of a message in the page."""
    tag = struct.__struct_config__.tag
    return tag if isinstance(tag, str) else struct.__name__


def documented() -> dict[str, Struct]:
    """Return all types that the page describes, by heading: messages, answers and their parts."""
    found: dict[str, Struct] = {}
    pending = [
        *EVERY_OP.requests.values(),
        *EVERY_OP.pushes.values(),
        *filter(None, EVERY_OP.answers.values()),
    ]
    while pending:
        struct = pending.pop(0)
        if title(struct) not in found:
            found[title(struct)] = struct
            pending += [part for field in fields_of(struct) for part in _parts(field.type)]
    return found


def _parts(kind: inspect.Type) -> Iterator[Struct]:
    match kind:
        case inspect.StructType(cls=cls):
            yield cls
        case inspect.ListType(item_type=item):
            yield from _parts(item)
        case inspect.DictType(value_type=value):
            yield from _parts(value)
        case inspect.UnionType(types=types):
            for one in types:
                yield from _parts(one)


def number(value: float) -> str:
    """Return a limit as text for people."""
    return "2^53-1" if value == 2**53 - 1 else f"{value:,}"


def described(kind: inspect.Type) -> str:  # noqa: C901, PLR0911, PLR0912 - a row a type
    """Return a field's type in the words of the tables."""
    match kind:
        case inspect.BoolType():
            return "boolean"
        case inspect.FloatType():
            return "number"
        case inspect.AnyType():
            return "any value"
        case inspect.IntType(ge=None, le=None):
            return "integer"
        case inspect.IntType(ge=int(least), le=None):
            return f"integer, at least {number(least)}"
        case inspect.IntType(ge=int(least), le=int(most)):
            return f"integer, {number(least)} to {number(most)}"
        case inspect.StrType(pattern=str(pattern)):
            return f"string, `{pattern}`".replace(r"\Z", "$").replace("|", r"\|")
        case inspect.StrType(min_length=int(least), max_length=int(most)):
            return f"string, {number(least)} to {number(most)} characters"
        case inspect.StrType():
            return "string"
        case inspect.LiteralType(values=choices):
            return " or ".join(f"`{json.dumps(choice)}`" for choice in choices)
        case inspect.ListType(item_type=item):
            return f"array of {described(item)}"
        case inspect.DictType(key_type=key, value_type=value):
            bound = f", at most {number(kind.max_length)}" if kind.max_length else ""
            return f"map of {described(key)} to {described(value)}{bound}"
        case inspect.StructType(cls=cls):
            return f"`{title(cls)}`"
        case inspect.UnionType(types=types):
            names = [described(one) for one in types if not isinstance(one, inspect.NoneType)]
            return " or ".join([*names, "null"])
    raise AssertionError(f"no words for {kind}")


def fields(struct: Struct) -> dict[str, str]:
    """Return each field's type and default, by name, without `op` and `ref`."""
    found = {}
    for field in fields_of(struct):
        if field.name == "ref":
            continue
        words = described(field.type)
        if not field.required:
            default = field.default
            if default is msgspec.NODEFAULT:
                default = field.default_factory()
            words += f"; default `{json.dumps(default)}`"
        found[field.name] = words
    return found


def table(head: Row, rows: Iterable[Row]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"|{'|'.join(line)}|\n" if line[0] == "---" else _line(line) for line in lines)


def _line(cells: Row) -> str:
    return f"| {' | '.join(cells)} |\n"


def cells(text: str) -> list[list[str]]:
    """Return the rows of the first table in a text, without its head."""
    found = _TABLE.search(text)
    lines = found[0].splitlines()[2:] if found else []
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def _fields_table(struct: Struct, text: str) -> str:
    found = fields(struct)
    if not found:
        return text if _NO_FIELDS in text else _put(text, f"{_NO_FIELDS}\n")
    text = text.replace(f"{_NO_FIELDS}\n\n", "")
    meanings = {row[0]: row[2] if len(row) > 2 else "" for row in cells(text)}
    rows = [(f"`{name}`", words, meanings.get(f"`{name}`", "")) for name, words in found.items()]
    return _put(text, table(("field", "type", "meaning"), rows))


def _answer_line(op: Op, text: str) -> str:
    answer = "`null`" if op.answer is None else f"`{op.answer.__name__}`"
    errors = ", ".join(f"`{error.code}`" for error in op.errors) or "none of its own"
    line = f"Answer: {answer}. Errors: {errors}."
    if not _ANSWER.search(text):
        return _before_examples(text, f"{line}\n")
    return _ANSWER.sub(line.replace("\\", r"\\"), text, count=1)


def _errors_table(text: str) -> str:
    rows = [
        (f"`{row.code}`", "yes" if row.retry else "no", str(row.status), row.message)
        for row in ERRORS.values()
    ]
    return _put(text, table(("code", "retry", "HTTP", "message"), rows))


def _closes_table(text: str) -> str:
    rows = [
        (str(row.code), f"`{row.name}`", "yes" if row.reconnect else "no", row.advice)
        for row in CLOSES.values()
    ]
    return _put(text, table(("code", "name", "reconnect", "what to do"), rows))


def _costs_table(text: str) -> str:
    costs = {name: _cost(op) for name, op in EVERY_OP.ops.items()}
    rows = [(f"`{name}`", cost) for name, cost in costs.items() if cost != "1"]
    return _put(text, table(("request", "counts as"), rows))


def _cost(op: Op) -> str:
    each = f", and 1 for each of `{op.cost_each}`" if op.cost_each else ""
    return f"{op.cost}{each}"


def _put(text: str, made: str) -> str:
    """Replace the first table of a section, or put one in."""
    if not _TABLE.search(text):
        return _before_examples(text, made)
    return _TABLE.sub(lambda _: made, text, count=1)


def _before_examples(text: str, made: str) -> str:
    prose, fence, examples = text.partition("```")
    return f"{prose.rstrip()}\n\n{made}\n{fence}{examples}"


def _sent_again(text: str) -> str:
    """Name in the section the requests that a client may send again, as `Op.may_repeat` has it."""

    def names(repeat: OnRepeat) -> str:
        return ", ".join(f"`{name}`" for name, op in EVERY_OP.ops.items() if op.repeat == repeat)

    line = (
        "Send again only what may act twice without harm: requests with an idempotency `key`"
        f" ({names('by key')}), and all of {names('harmless')}."
    )
    made = textwrap.fill(line, 100, break_long_words=False, break_on_hyphens=False)
    if not _AGAIN.search(text):
        return f"{text.rstrip()}\n\n{made}\n\n"
    return _AGAIN.sub(lambda _: made, text, count=1)


def written_http(page: str) -> str:
    """Return the page of the HTTP API with its table of ops up to date."""
    before, heading, after = page.partition("## Ops\n")
    rows = [
        (f"`{name}`", op.role or "nobody", "no" if op.live else "yes", op.repeat)
        for name, op in EVERY_OP.ops.items()
    ]
    section, following, rest = after.partition("\n## ")
    made = table(("op", "role", "over HTTP", "if it comes twice"), rows)
    if _TABLE.search(section):
        section = _TABLE.sub(lambda _: made, section, count=1)
    else:
        section = f"{section.rstrip()}\n\n{made}"
    return f"{before}{heading}{section}{following}{rest}"


def _in_both_encodings(example: re.Match[str]) -> str:
    """Return an example in JSON, and the same message in msgpack as hex."""
    try:
        message = json.loads(example[1])
    except json.JSONDecodeError as error:
        raise OutOfPlace(f"an example in {PAGE.name} is no JSON, {error}: {example[1]}") from None
    dump = textwrap.fill(msgspec.msgpack.encode(message).hex(" "), _HEX_LINE)
    return f"```json\n{example[1]}\n```\n```hex\n{dump}\n```\n"


def meanings(page: str) -> dict[str, dict[str, str]]:
    """Return what the page's tables say of each field, by heading and field."""
    described_types = documented()
    pieces = _HEADING.split(page)
    sections = zip(pieces[1::2], pieces[2::2], strict=True)
    return {
        name: {row[0].replace("`", ""): row[2] if len(row) > 2 else "" for row in cells(text)}
        for name, text in ((heading.replace("`", ""), text) for heading, text in sections)
        if name in described_types and fields(described_types[name])
    }


def without_meaning(page: str) -> list[str]:
    """Return the fields of the page's tables whose meaning is empty, each as `heading: field`."""
    return [
        f"{name}: {field}"
        for name, of_fields in meanings(page).items()
        for field, meaning in of_fields.items()
        if not meaning
    ]


def files() -> dict[Path, str]:
    """Return every file that this program writes, as it should be.

    Raises OutOfPlace as `written` does.
    """
    page = written(PAGE.read_text(encoding="utf-8"))
    http_page = written_http(HTTP_PAGE.read_text(encoding="utf-8"))
    return {PAGE: page, HTTP_PAGE: http_page, **sources(documented(), meanings(page))}


def written(page: str) -> str:
    """Return the page with its tables and the hex of its examples up to date.

    Raises OutOfPlace if a message has no heading in the page, or if an example is no JSON.
    """
    makers: dict[str, list[Callable[[str], str]]] = {}
    for name, struct in documented().items():
        makers.setdefault(name, []).append(partial(_fields_table, struct))
    for name, op in EVERY_OP.ops.items():
        makers[name].append(partial(_answer_line, op))
    makers["Errors"] = [_errors_table]
    makers["Closes"] = [_closes_table]
    makers["What a request costs"] = [_costs_table]
    makers[REPEATS] = [_sent_again]
    pieces = _HEADING.split(page)
    headings = _HEADING.finditer(page)
    made = [pieces[0]]
    for heading, name, text in zip(headings, pieces[1::2], pieces[2::2], strict=True):
        for maker in makers.pop(name.replace("`", ""), []):
            text = maker(text)  # noqa: PLW2901 - one after the other
        made += [heading[0], text]
    if makers:
        raise OutOfPlace(f"{PAGE.name} has no heading for {', '.join(makers)}")
    return _EXAMPLE.sub(_in_both_encodings, "".join(made))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m protocol.tables", description=(__doc__ or "").split("\n\n", 1)[0]
    )
    parser.add_argument("--check", action="store_true", help="write nothing; 1: out of date")
    check = parser.parse_args(arguments).check
    try:
        after = files()
    except OutOfPlace as error:
        print(f"protocol.tables: {error}", file=sys.stderr)
        return 1
    old = [
        path
        for path, text in after.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if check and old:
        for path in old:
            print(f"{path} is out of date; write it by: python -m protocol.tables", file=sys.stderr)
        return 1
    for path in old:
        path.write_text(after[path], encoding="utf-8")
        print(f"{path} is written")
    if any(path.suffix != ".md" for path in old):
        print("the TypeScript client is to be built anew: make js")
    if lacking := without_meaning(after[PAGE]):
        print(f"{PAGE}: write the meaning of {', '.join(lacking)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
