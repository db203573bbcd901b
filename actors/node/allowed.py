"""Describes the type of a key in words, for messages about the configuration."""

from __future__ import annotations

from typing import Any

from msgspec import inspect


def allowed(kind: Any) -> str:
    """Return what a type allows, in words and with its bounds."""
    return _describe(inspect.type_info(kind))


def _describe(info: inspect.Type) -> str:
    match info:
        case inspect.IntType() | inspect.FloatType():
            text = _describe_number(info)
        case inspect.Metadata(extra_json_schema={"description": str(description)}):
            text = description
        case inspect.StrType(pattern=str(pattern)):
            text = f"text that matches {pattern}"
        case inspect.StrType(min_length=shortest):
            text = "text that is not empty" if shortest else "text"
        case inspect.LiteralType(values=choices):
            text = "one of " + ", ".join(f'"{choice}"' for choice in choices)
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            text = f"a list, each {_describe(item)}"
        case inspect.DictType(value_type=value):
            text = f"a table, each {_describe(value)}"
        case inspect.UnionType(types=kinds):
            text = " or ".join(_describe(kind) for kind in kinds)
        case inspect.StructType(cls=kind):
            text = f"a table with {', '.join(kind.__struct_fields__)}"
        case _:
            text = "true or false"  # a test checks that sections have no other types
    return text


def _describe_number(info: inspect.IntType | inspect.FloatType) -> str:
    noun = "a whole number" if isinstance(info, inspect.IntType) else "a number"
    bounds = (("from", info.ge), ("above", info.gt), ("up to", info.le), ("below", info.lt))
    return " ".join([noun, *(f"{word} {bound:,}" for word, bound in bounds if bound is not None)])
