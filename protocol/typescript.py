"""The files of the TypeScript client that follow from the table of ops.

`messages.ts` has the type of each message, `tables.ts` what the client must know of ops, errors and
closes. `python -m protocol.tables` writes both, with the tables of PROTOCOL.md, from whose tables
of fields the comments come.
"""

from __future__ import annotations

import inspect as python_inspect
import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec import inspect

from protocol.errors import CLOSES, ERRORS
from protocol.messages import EVERY_OP
from protocol.messages.op import OnRepeat, fields_of

CLIENT = Path(__file__).with_name("js")
"""The folder of the TypeScript client."""

Struct = type[msgspec.Struct]
Meanings = Mapping[str, Mapping[str, str]]
"""By the heading of a message in PROTOCOL.md: field -> what it means."""

_MADE = "// Made by `python -m protocol.tables` from the table of ops. Do not edit.\n"


def sources(described: Mapping[str, Struct], meanings: Meanings) -> dict[Path, str]:
    """Return the text of each file.

    Arguments:
        described: the types to write, by their headings in PROTOCOL.md.
        meanings: what their fields mean.
    """
    return {
        CLIENT / "src" / "messages.ts": _messages(described, meanings),
        CLIENT / "src" / "tables.ts": _tables(),
    }


def typed(kind: inspect.Type) -> str:  # noqa: PLR0911 - a row a type
    """Return a field's type in TypeScript."""
    match kind:
        case inspect.BoolType():
            return "boolean"
        case inspect.FloatType() | inspect.IntType():
            return "number"
        case inspect.AnyType():
            return "unknown"
        case inspect.StrType():
            return "string"
        case inspect.LiteralType(values=choices):
            return " | ".join(json.dumps(choice) for choice in choices)
        case inspect.ListType(item_type=item):
            one = typed(item)
            return f"({one})[]" if " " in one else f"{one}[]"
        case inspect.DictType(value_type=value):
            return f"Record<string, {typed(value)}>"
        case inspect.StructType(cls=cls):
            return cls.__name__
        case inspect.NoneType():
            return "null"
        case inspect.UnionType(types=types):
            return " | ".join(typed(one) for one in types)
    raise AssertionError(f"no TypeScript for {kind}")


def _messages(described: Mapping[str, Struct], meanings: Meanings) -> str:
    parts = [_MADE]
    parts += [
        _interface(struct, meanings.get(heading, {}))
        for heading, struct in sorted(described.items(), key=lambda item: item[1].__name__)
    ]
    parts.append(
        _map(
            "The fields of each request, by op.",
            "Requests",
            {name: request.__name__ for name, request in EVERY_OP.requests.items()},
        )
    )
    parts.append(
        _map(
            "What each op is answered with.",
            "Answers",
            {
                name: "null" if answer is None else answer.__name__
                for name, answer in EVERY_OP.answers.items()
            },
        )
    )
    parts.append(
        _map(
            "Each push, by op.",
            "Pushes",
            {name: push.__name__ for name, push in EVERY_OP.pushes.items()},
        )
    )
    parts.append("export type Op = keyof Requests;\n")
    parts.append("export type Push = Pushes[keyof Pushes];\n")
    codes = "".join(f"\n  | {json.dumps(code)}" for code in ERRORS)
    parts.append(
        f"/** The codes of the table of errors; a newer server may have more. */\n"
        f"export type ErrorCode ={codes}\n  | (string & {{}});\n"
    )
    return "\n".join(parts)


def _interface(struct: Struct, meanings: Mapping[str, str]) -> str:
    lines = [
        *_comment(python_inspect.getdoc(struct) or "", ""),
        f"export interface {struct.__name__} {{",
    ]
    tag = struct.__struct_config__.tag
    if tag in EVERY_OP.pushes:
        lines.append(f"  op: {json.dumps(tag)};")
    for field in fields_of(struct):
        if field.name == "ref":
            continue
        lines += _comment(meanings.get(field.name, ""), "  ")
        lines.append(f"  {field.name}{'' if field.required else '?'}: {typed(field.type)};")
    if lines[-1].endswith(" {"):  # an interface without members would take any value
        lines[-1] = f"export type {struct.__name__} = Record<string, never>;\n"
        return "\n".join(lines)
    return "\n".join([*lines, "}\n"])


def _map(comment: str, name: str, rows: Mapping[str, str]) -> str:
    lines = "".join(f"  {json.dumps(op)}: {kind};\n" for op, kind in rows.items())
    return f"/** {comment} */\nexport interface {name} {{\n{lines}}}\n"


def _comment(text: str, indent: str) -> Iterator[str]:
    text = re.sub(r"\s*\n(?=\S)", " ", text).replace("*/", "* /").strip()
    paragraphs = [one for one in text.split("\n") if one.strip()]
    if not paragraphs:
        return
    if len(paragraphs) == 1 and len(indent) + len(text) + 7 <= 100:
        yield f"{indent}/** {text} */"
        return
    yield f"{indent}/**"
    for number, paragraph in enumerate(paragraphs):
        if number:
            yield f"{indent} *"
        for line in textwrap.wrap(paragraph, 96 - len(indent), break_on_hyphens=False):
            yield f"{indent} * {line}"
    yield f"{indent} */"


def _tables() -> str:
    def ops(repeat: OnRepeat) -> Iterable[str]:
        return (name for name, op in EVERY_OP.ops.items() if op.repeat == repeat)

    sets = [
        ("The ops that may be sent again after a break without harm.", "HARMLESS", ops("harmless")),
        ("The ops that may be sent again if they bear a `key`.", "BY_KEY", ops("by key")),
        (
            "The codes of errors after which the same request may succeed later.",
            "RETRY",
            (code for code, row in ERRORS.items() if row.retry),
        ),
    ]
    parts = [_MADE, *(_set(comment, name, words) for comment, name, words in sets)]
    rows = "".join(f"  {code}: {json.dumps(row.name)},\n" for code, row in CLOSES.items())
    parts.append(
        "/** The names of the close codes. */\n"
        f"export const CLOSES: Readonly<Record<number, string>> = {{\n{rows}}};\n"
    )
    return "\n".join(parts)


def _set(comment: str, name: str, words: Iterable[str]) -> str:
    # One string is shorter than a list of strings, also when it is compressed.
    lines = textwrap.wrap(" ".join(words), 92, break_long_words=False, break_on_hyphens=False)
    text = " +\n".join(
        f"    {json.dumps(line + (' ' if line is not lines[-1] else ''))}" for line in lines
    )
    return (
        f"/** {comment} */\n"
        f'export const {name}: ReadonlySet<string> = new Set(\n  (\n{text}\n  ).split(" "),\n);\n'
    )
