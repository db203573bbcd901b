"""Which types can cross between nodes. This is checked before any message is sent."""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec
import pykka
from msgspec import inspect as shapes

from actors.runtime.deadline import IS_DEADLINE
from actors.runtime.ref import ActorRef

PLAIN: Final = (type(None), bool, int, float, str, bytes)
"""What any handler may answer with."""

_UNSAID: Final = (Any, object, inspect.Signature.empty, typing.NoReturn)
_WRAPPERS: Final = (
    pykka.Future,
    collections.abc.Awaitable,
    collections.abc.Coroutine,
)


def problem(cls: Any) -> str | None:
    """Return which part of a type cannot cross, as `field: reason`; None: all of it can."""
    try:
        shape = shapes.type_info(cls)
    except NameError as error:
        return f"{error}; types that cross are defined at the top of a module"
    except TypeError as error:
        return str(error)
    return next(_problems(shape, "", set()), None)


def _problems(shape: Any, path: str, seen: set[Any]) -> Iterator[str]:
    if isinstance(shape, shapes.CustomType) and shape.cls is not ActorRef:
        yield f"{path or 'it'}: {_name(shape.cls)} is no plain data"
    elif isinstance(shape, shapes.RawType):
        yield f"{path or 'it'}: a Raw does not say in which encoding it is"
    elif isinstance(shape, shapes.Metadata):
        if (shape.extra or {}).get(IS_DEADLINE) and "." in path:
            yield f"{path}: a Deadline is a field of the message itself, not of a part of it"
        yield from _problems(shape.type, path, seen)
    else:
        for name, part in _parts(shape, seen):
            yield from _problems(part, f"{path}.{name}".strip("."), seen)


def _parts(shape: Any, seen: set[Any]) -> Iterator[tuple[str, Any]]:
    """The fields of a type, and what a container holds."""
    fields = getattr(shape, "fields", ())
    if fields and shape.cls not in seen:
        seen.add(shape.cls)
        for field in fields:
            yield field.name, field.type
    for name in ("item_type", "key_type", "value_type"):
        if (inner := getattr(shape, name, None)) is not None:
            yield "", inner
    for name in ("types", "item_types"):
        for inner in getattr(shape, name, ()):
            yield "", inner


def deadlines(cls: Any) -> tuple[str, ...]:
    """Return the names of a struct's fields that are deadlines."""
    if not (isinstance(cls, type) and issubclass(cls, msgspec.Struct)):
        return ()
    shape = shapes.type_info(cls)
    assert isinstance(shape, shapes.StructType)
    return tuple(
        field.name
        for field in shape.fields
        if isinstance(field.type, shapes.Metadata) and (field.type.extra or {}).get(IS_DEADLINE)
    )


def answers_of(handler: Callable[..., Any]) -> list[Any] | None:
    """Return the types that a handler answers with by its annotation; None: it does not say.

    Raises NameError if the annotation names what cannot be found.
    """
    hint = typing.get_type_hints(handler, include_extras=True).get("return", Any)
    found = list(_alternatives(hint))
    return None if any(each in _UNSAID for each in found) else found


def _alternatives(hint: Any) -> Iterator[Any]:
    origin = get_origin(hint)
    if origin is Annotated:
        yield from _alternatives(get_args(hint)[0])
    elif origin in (Union, types.UnionType):
        for each in get_args(hint):
            yield from _alternatives(each)
    elif isinstance(origin, type) and issubclass(origin, _WRAPPERS):
        yield from _alternatives(get_args(hint)[-1])
    elif isinstance(hint, type) and issubclass(hint, _WRAPPERS):
        yield Any  # of something
    elif isinstance(hint, typing.NewType):
        yield from _alternatives(hint.__supertype__)
    else:
        yield hint


def runtime_types(answer: Any) -> tuple[type, ...]:
    """Return the classes that values of a type have. Raises ValueError for one without a class."""
    origin = get_origin(answer) or answer
    if origin is typing.Literal:
        return tuple({type(value) for value in get_args(answer)})
    if origin is collections.abc.Sequence:
        return (list, tuple)
    if origin is collections.abc.Mapping:
        return (dict,)
    if not isinstance(origin, type) or inspect.isabstract(origin):
        raise ValueError(f"{answer} does not say what its values are")
    return (origin,)


def _name(cls: Any) -> str:
    return getattr(cls, "__name__", None) or str(cls)
