"""The sections of config.toml, their keys, and the type of each key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Protocol, get_args, get_type_hints

import msgspec
from msgspec import Meta, inspect


class ConfigError(Exception):
    """The configuration cannot be used. The text is one line for its author."""


class Configurable(Protocol):
    """Something with sections of its own: a service."""

    @property
    def name(self) -> str: ...

    @property
    def sections(self) -> Mapping[str, type[Any]]:
        """Name -> the Struct of its settings; or `dict[str, X]` for free keys with values X."""


class Section:
    """A section and its type, a Struct with defaults or `dict[str, X]`."""

    def __init__(self, name: str, kind: type[Any]) -> None:
        self.name = name
        self.kind = kind
        self.defaults = kind()
        self.is_free = isinstance(self.defaults, dict)
        self.keys: Mapping[str, Any] = {} if self.is_free else _keys(kind)
        """Key -> type. Empty for a section whose keys are free."""

    def type_of(self, key: str) -> Any:
        """Return the type of a key; None: there is no key of this name."""
        return get_args(self.kind)[1] if self.is_free else self.keys.get(key)

    def default(self, key: str) -> Any:
        """Return the default of a key; None where keys are free."""
        return None if self.is_free else getattr(self.defaults, key)


class Sections:
    """The sections of this server, and those of services that it does not list.

    Arguments:
        frame: the sections that every server has.
        services: the services of this server.
        absent: services that this server does not list. Not iterated before an unknown section.
    """

    def __init__(
        self,
        frame: Iterable[Section],
        services: Sequence[Configurable],
        absent: Iterable[Configurable] = (),
    ) -> None:
        self.known = {section.name: section for section in frame}
        for service in services:
            for name, kind in service.sections.items():
                if name in self.known:
                    raise ValueError(f"[{name}] of {service.name} is there already")
                self.known[name] = Section(name, kind)
        self.doubts: dict[str, None] = {}
        """A warning for each setting of an absent service, in order."""
        self._absent = absent

    def has(self, name: str, origin: str) -> bool:
        """Whether this server has the section; False: it belongs to an absent service.

        Raises:
            ConfigError: there is no section of this name.
        """
        if name in self.known:
            return True
        self._absent = tuple(self._absent)
        for service in self._absent:
            if name in service.sections:
                why = f"the service {service.name} is not in this server"
                self.doubts[f"{origin}: [{name}] sets nothing: {why}"] = None
                return False
        raise ConfigError(
            f"{origin}: unknown section [{name}]{meant(name, list(self.known), '[{}]')}"
            f" There are {', '.join(f'[{known}]' for known in self.known)}"
        )


def meant(word: str, known: Sequence[str], form: str = "{}") -> str:
    """Return the end of a sentence about an unknown word: a similar known word, if there is one."""
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f", did you mean {form.format(close[0])}?" if close else "."


def _keys(kind: type[msgspec.Struct]) -> Mapping[str, Any]:
    keys = {}
    for key, of_key in get_type_hints(kind, include_extras=True).items():
        info = inspect.type_info(of_key)
        if not isinstance(info, inspect.DataclassType):  # config.toml cannot set such a field
            # A number without a bound of its own is a size or a time, so it must be above 0.
            bare = isinstance(info, inspect.IntType | inspect.FloatType) and (
                info.ge is None and info.gt is None
            )
            keys[key] = Annotated[of_key, Meta(gt=0)] if bare else of_key
    return keys
