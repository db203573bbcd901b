"""The server's settings: one section of config.toml for each Struct that a package defines.

Later layers win: the defaults in the Structs, config.toml, the environment
(`GREENROOM_SECTION__KEY=value`), the command line (`--set section.key=value`). Whatever a layer
brings that is not known or not allowed is one `ConfigError` of one line, which names where the
value stands, the key, and what is allowed there.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import math
import operator
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints

import msgspec
from msgspec import Meta, inspect

from actors.chat.settings import RoomSettings
from actors.edge.settings import SessionSettings
from actors.matches.settings import MatchSettings
from actors.node.conflicts import conflicts
from actors.node.logs import LogSettings
from actors.quantities import PositiveSeconds, Seconds
from actors.runtime.journal_settings import JournalSettings
from actors.runtime.read_budget import RecoverySettings
from actors.runtime.snapshots import SnapshotSettings
from persistence.settings import (
    EmbeddedSettings,
    PostgresSettings,
    RedisSettings,
    ScheduleSettings,
)
from protocol.settings import Host, HttpSettings, WireSettings

ENVIRONMENT_PREFIX = "GREENROOM_"
DEFAULT_FILE = Path("config.toml")
SETTING = "a setting is GREENROOM_SECTION__KEY, in capitals"
OF_KUBERNETES = re.compile(
    r"GREENROOM_(\w+_)?("
    r"SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?|PORT(?==\w+://)"
    r")=.*",
    re.DOTALL,
)
"""What Kubernetes tells every container about the services named greenroom, or greenroom-http."""
SECRET_KEYS = frozenset({"url", "replica_url", "token_secrets"})
"""Keys whose values are never printed: a store's URL bears its password, too."""

Port = Annotated[int, Meta(ge=0, le=65_535)]
DataDir = Annotated[str, Meta(pattern=r"^[^\x00]+\Z", description="the path of a folder")]
GamePath = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*\Z",
        description='text of the form "package.module:Class"',
    ),
]


class ConfigError(Exception):
    """The configuration cannot be used; the text is one line for whoever wrote it."""


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The process: where its data lives, and how it stops."""

    data_dir: DataDir = "data"
    drain_s: Seconds = 2.0
    stop_timeout_s: PositiveSeconds = 25.0
    alone: bool = True


class ListenSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where clients connect. With both files of `tls_*` given, it is wss."""

    host: Host = "127.0.0.1"
    port: Port = 7350
    tls_certificate: str = ""
    tls_key: str = ""

    def __post_init__(self) -> None:
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("tls_certificate and tls_key must be given together")


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting of a server. A field is a section of config.toml."""

    server: ServerSettings = ServerSettings()
    log: LogSettings = LogSettings()
    listen: ListenSettings = ListenSettings()
    wire: WireSettings = WireSettings()
    http: HttpSettings = HttpSettings()
    embedded: EmbeddedSettings = EmbeddedSettings()
    postgres: PostgresSettings = PostgresSettings()
    redis: RedisSettings = RedisSettings()
    journal: JournalSettings = JournalSettings()
    snapshots: SnapshotSettings = SnapshotSettings()
    recovery: RecoverySettings = RecoverySettings()
    schedules: ScheduleSettings = ScheduleSettings()
    sessions: SessionSettings = SessionSettings()
    rooms: RoomSettings = RoomSettings()
    matches: MatchSettings = MatchSettings()
    games: dict[str, GamePath] = {}


class Loaded(NamedTuple):
    """A configuration, where it came from, and what in it is not the default."""

    config: Config
    file: Path | None
    changed: dict[str, tuple[Any, str]]
    """`section.key` -> (value, the layer that set it), only where it differs from the default."""
    doubts: tuple[str, ...] = ()
    """What was not taken for a setting and may have been meant as one; a line each, for people."""

    @property
    def folder(self) -> Path:
        """Where the file is, or without one the working folder: what paths are relative to."""
        return (self.file.parent if self.file is not None else Path()).absolute()

    def resolve(self, path: str) -> Path:
        """Return `path` made absolute: relative ones start from `folder`."""
        return self.folder / Path(path).expanduser()


class _Value(NamedTuple):
    raw: Any
    origin: str  # how a message names the place, e.g. "config.toml"
    text: bool  # raw is text of the environment or the command line, not TOML's typed value


def load(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
) -> Loaded:
    """Read the layers and return the settings.

    Arguments:
        file: the TOML file; None: `config.toml` in the working folder if there is one.
        environment: instead of the process's own.
        overrides: `section.key=value` each, the strongest layer.

    Raises:
        ConfigError: the file cannot be read, or a key or value is not allowed.
    """
    if file is None and DEFAULT_FILE.is_file():
        file = DEFAULT_FILE
    values: dict[tuple[str, str], _Value] = {}
    if file is not None:
        values.update(_from_file(file))
    environment = os.environ if environment is None else environment
    values.update(_from_environment(environment))
    values.update(_from_overrides(overrides))
    sections: dict[str, dict[str, Any]] = {}
    for (section, key), value in values.items():
        sections.setdefault(section, {})[key] = _convert(section, key, value)
    config = Config(**{name: _section(name, keys, values) for name, keys in sections.items()})
    changed = {
        f"{section}.{key}": (sections[section][key], value.origin)
        for (section, key), value in values.items()
        if sections[section][key] != _default(section, key)
    }
    _check_together(config, changed)
    return Loaded(config, file, changed, tuple(_doubts(environment)))


def known_keys() -> dict[str, dict[str, str]]:
    """Every key there is: section -> key -> what it allows, for people."""
    return {
        section: {key: allowed(kind) for key, kind in _keys(section).items()}
        for section in Config.__struct_fields__
    }


# --- layers --------------------------------------------------------------------------------------


def _from_file(file: Path) -> Iterator[tuple[tuple[str, str], _Value]]:
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
        _check_section(section, str(file))
        if not isinstance(table, dict):
            raise ConfigError(f"{file}: [{section}] must be a table of keys, not {table!r}")
        for key, raw in table.items():
            yield (section, key), _Value(raw, str(file), text=False)


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[tuple[str, str], _Value]]:
    for name in sorted(environment):
        # An empty one is unset: what Compose makes of a variable that its own environment lacks.
        if _is_setting(name) and environment[name].strip():
            section, _, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
            origin = f"environment variable {name}"
            _check_section(section, origin)
            yield (section, key), _Value(environment[name], origin, text=True)


def _is_setting(name: str) -> bool:
    return name.startswith(ENVIRONMENT_PREFIX) and "__" in name and name == name.upper()


def _doubts(environment: Mapping[str, str]) -> Iterator[str]:
    """Variables of our name that are no settings: one underscore, small letters, another's."""
    meant = {
        f"{section}_{key}": f"{ENVIRONMENT_PREFIX}{section}__{key}".upper()
        for section in Config.__struct_fields__
        for key in _keys(section)
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


def _from_overrides(overrides: Sequence[str]) -> Iterator[tuple[tuple[str, str], _Value]]:
    for override in overrides:
        name, equals, raw = override.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and key):
            raise ConfigError(f"--set {override}: must be SECTION.KEY=VALUE, e.g. listen.port=7350")
        origin = f"--set {name}"
        _check_section(section, origin)
        yield (section, key), _Value(raw, origin, text=True)


# --- keys and values -----------------------------------------------------------------------------


@functools.cache
def _keys(section: str) -> Mapping[str, Any]:
    """Key -> type. Empty for a section whose keys are free."""
    present = getattr(Config(), section)
    if isinstance(present, dict):
        return {}
    keys = {}
    for key, kind in get_type_hints(type(present), include_extras=True).items():
        info = inspect.type_info(kind)
        if not isinstance(info, inspect.DataclassType):  # finer than a key: for tests, embedders
            # A number without a bound of its own may not be 0 or less: it is a size or a time.
            bare = isinstance(info, inspect.IntType | inspect.FloatType) and (
                info.ge is None and info.gt is None
            )
            keys[key] = Annotated[kind, Meta(gt=0)] if bare else kind
    return keys


def _default(section: str, key: str) -> Any:
    present = getattr(Config(), section)
    return present.get(key) if isinstance(present, dict) else getattr(present, key)


def _check_section(section: str, origin: str) -> None:
    sections = Config.__struct_fields__
    if section not in sections:
        raise ConfigError(
            f"{origin}: unknown section [{section}]{_meant(section, sections, '[{}]')}"
            f" There are {', '.join(f'[{name}]' for name in sections)}"
        )


def _meant(word: str, known: Sequence[str], form: str = "{}") -> str:
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f", did you mean {form.format(close[0])}?" if close else "."


def _convert(section: str, key: str, value: _Value) -> Any:
    keys = _keys(section)
    kind = keys.get(key, GamePath) if keys else GamePath
    if keys and key not in keys:
        hint = _meant(key, list(keys))
        elsewhere = [f"[{other}]" for other in Config.__struct_fields__ if key in _keys(other)]
        if hint == "." and elsewhere:
            hint = f", it belongs to {' or '.join(elsewhere)}."
        raise ConfigError(
            f"{value.origin}: [{section}] has no key {key}{hint} It has {', '.join(keys)}"
        )
    raw = value.raw
    if value.text and not _is_text(kind):
        with contextlib.suppress(tomllib.TOMLDecodeError):  # text then, which is not allowed below
            raw = tomllib.loads(f"v = {raw}")["v"]
    try:
        # Blank is empty, whatever layer brings it.
        blank = isinstance(raw, str) and not raw.strip()
        converted = msgspec.convert("" if blank else raw, kind)
        if converted == math.inf:  # no time or size is: a stop that waits for ever is no stop
            raise msgspec.ValidationError("not finite")
        return converted
    except msgspec.ValidationError as error:
        shown = "" if key in SECRET_KEYS else f" = {raw!r}"
        raise ConfigError(
            f"{value.origin}: [{section}] {key}{shown} is not allowed: must be {allowed(kind)}"
        ) from error


def _section(section: str, keys: dict[str, Any], values: Mapping[tuple[str, str], _Value]) -> Any:
    kind = type(getattr(Config(), section))
    if kind is dict:
        return keys
    try:
        return kind(**keys)
    except ValueError as error:  # what a Struct's own check of several keys raises
        origins = dict.fromkeys(
            values[section, key].origin for key in keys if keys[key] != _default(section, key)
        )
        raise ConfigError(f"{', '.join(origins)}: [{section}] {error}") from error


def _check_together(config: Config, changed: Mapping[str, tuple[Any, str]]) -> None:
    def value(name: str) -> Any:
        return operator.attrgetter(name)(config)

    for conflict in conflicts(value):
        # What somebody has changed comes first: the other key may only be in its way.
        names = sorted(conflict.keys, key=lambda name: name not in changed)
        origins = dict.fromkeys(changed[name][1] for name in names if name in changed)
        told = [f"[{name.replace('.', '] ')} = {value(name)!r}" for name in names]
        raise ConfigError(f"{', '.join(origins)}: {' and '.join(told)}: {conflict.why}")


def _is_text(kind: Any) -> bool:
    info = inspect.type_info(kind)
    if isinstance(info, inspect.Metadata):  # with a description of its own
        info = info.type
    return isinstance(info, inspect.StrType | inspect.LiteralType)


def allowed(kind: Any) -> str:
    """Say for people what a type allows, with its bounds."""
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
        case inspect.UnionType(types=kinds):
            text = " or ".join(_describe(kind) for kind in kinds)
        case _:
            text = "true or false"  # no other type stands in a section; a test holds that
    return text


def _describe_number(info: inspect.IntType | inspect.FloatType) -> str:
    noun = "a whole number" if isinstance(info, inspect.IntType) else "a number"
    bounds = (("from", info.ge), ("above", info.gt), ("up to", info.le), ("below", info.lt))
    return " ".join([noun, *(f"{word} {bound:,}" for word, bound in bounds if bound is not None)])
