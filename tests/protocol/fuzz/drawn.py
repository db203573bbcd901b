"""Requests drawn from the table of ops: whatever op is added there is sent, too."""

from __future__ import annotations

import random
import re
from typing import Any

from msgspec import inspect

from protocol.messages import EVERY_OP
from protocol.messages.op import fields_of

Plain = dict[Any, Any]

_LETTERS = "abcXYZ019_.-é\U0001f3b2"


def request(dice: random.Random, idents: list[str]) -> Plain:
    """Draw a request of any op, whose fields have the types and limits that the op declares.

    `idents` has names that exist on the server, for fields that take a name.
    """
    op = dice.choice(list(EVERY_OP.ops.values()))
    drawn: Plain = {"op": op.name}
    for field in fields_of(op.request):
        if field.name != "ref" and (field.required or dice.random() < 0.5):
            drawn[field.name] = value(dice, field.type, idents)
    return drawn


def value(dice: random.Random, kind: inspect.Type, idents: list[str]) -> Any:
    """Draw a value of a field's type."""
    match kind:
        case inspect.NoneType():
            return None
        case inspect.BoolType():
            return dice.random() < 0.5
        case inspect.IntType(ge=low, le=high):
            low, high = low or 0, 2**53 - 1 if high is None else high
            return dice.choice((low, high, dice.randint(low, min(high, low + 50))))
        case inspect.FloatType():
            return dice.uniform(-1e3, 1e3)
        case inspect.StrType(pattern=str(pattern)):
            return dice.choice([one for one in idents if re.search(pattern, one)] or idents)
        case inspect.StrType(min_length=low, max_length=high):
            low, high = low or 0, min(high or 20, 20)
            return "".join(dice.choices(_LETTERS, k=dice.randint(low, max(low, high))))
        case inspect.LiteralType(values=choices):
            return dice.choice(choices)
        case inspect.ListType(item_type=item):
            return [value(dice, item, idents) for _ in range(dice.randrange(3))]
        case inspect.DictType(key_type=key, value_type=inner):
            return {
                value(dice, key, idents): value(dice, inner, idents)
                for _ in range(dice.randrange(3))
            }
        case inspect.UnionType(types=types):
            return value(dice, dice.choice(types), idents)
        case inspect.StructType(fields=fields):
            return {field.name: value(dice, field.type, idents) for field in fields}
        case inspect.AnyType():
            return dice.choice([None, True, 7, 0.5, "x", [1, 2], {"a": {"b": []}}])
    raise AssertionError(f"nothing is drawn for {kind}")
