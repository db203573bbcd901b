"""The layers of the configuration: the file, the environment, the command line."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from actors.node.sections import ConfigError, Sections

ENVIRONMENT_PREFIX = "GREENROOM_"
SETTING = "a setting is GREENROOM_SECTION__KEY, in capitals"
OF_KUBERNETES = re.compile(
    r"GREENROOM_(\w+_)?("
    r"SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?|PORT(?==\w+://)"
    r")=.*",
    re.DOTALL,
)
"""Variables that Kubernetes sets in every container for a Service named greenroom or
greenroom-http. They are no settings."""


class Value(NamedTuple):
    """The value that a layer gives to a key."""

    raw: Any
    origin: str  # the name of the layer in messages, e.g. "config.toml"
    text: bool  # raw is text of the environment or the command line, not a typed value of TOML


Layer = Iterator[tuple[tuple[str, str], Value]]
"""(section, key) -> the value."""


def from_file(file: Path, sections: Sections) -> Layer:
    """Read config.toml. Raises `ConfigError`, as the other layers do."""
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        if twice := re.search(r"Cannot declare \('(\w+)',\) twice", str(error)):
            raise ConfigError(
                f"{file}: [{twice[1]}] stands there twice: put the keys of both under one"
            ) from error
        raise ConfigError(f"{file}: not valid TOML: {error}") from error
    for section, table in tables.items():
        if not sections.has(section, str(file)):
            continue
        if not isinstance(table, dict):
            raise ConfigError(f"{file}: [{section}] must be a table of keys, not {table!r}")
        for key, raw in table.items():
            yield (section, key), Value(raw, str(file), text=False)


def from_environment(environment: Mapping[str, str], sections: Sections) -> Layer:
    """Read `GREENROOM_SECTION__KEY=value`."""
    for name in sorted(environment):
        # An empty variable counts as unset. Compose makes one of a variable that is not set.
        if _is_setting(name) and environment[name].strip():
            section, _, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
            origin = f"environment variable {name}"
            if sections.has(section, origin):
                yield (section, key), Value(environment[name], origin, text=True)


def _is_setting(name: str) -> bool:
    return name.startswith(ENVIRONMENT_PREFIX) and "__" in name and name == name.upper()


def from_overrides(overrides: Sequence[str], sections: Sections) -> Layer:
    """Read `section.key=value` of the command line."""
    for override in overrides:
        name, equals, raw = override.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and key):
            raise ConfigError(f"--set {override}: must be SECTION.KEY=VALUE, e.g. listen.port=7350")
        origin = f"--set {name}"
        if sections.has(section, origin):
            yield (section, key), Value(raw, origin, text=True)


def doubts(environment: Mapping[str, str], sections: Sections) -> Iterator[str]:
    """Yield a warning for each variable GREENROOM_... that is no setting and may be meant as one.

    It may have one underscore in place of two, or small letters.
    """
    meant = {
        f"{name}_{key}": f"{ENVIRONMENT_PREFIX}{name}__{key}".upper()
        for name, section in sections.known.items()
        for key in section.keys
    }
    for name in sorted(environment):
        upper, value = name.upper(), environment[name].strip()
        if not upper.startswith(ENVIRONMENT_PREFIX) or _is_setting(name) or not value:
            continue
        if OF_KUBERNETES.fullmatch(f"{name}={value}"):
            continue
        word = upper.removeprefix(ENVIRONMENT_PREFIX).replace("__", "_").lower()
        close = difflib.get_close_matches(word, meant, n=1, cutoff=0.9)
        names = [meant[one] for one in close] or [
            setting for setting in meant.values() if setting.endswith(f"__{word.upper()}")
        ]
        hint = f", did you mean {' or '.join(names)}?" if names else f": {SETTING}"
        yield f"environment variable {name} sets nothing{hint}"
