"""The server's settings: sections of config.toml, the frame's own and those that services bring.

Later layers win: the defaults in the Structs, config.toml, the environment
(`GREENROOM_SECTION__KEY=value`), the command line (`--set section.key=value`). A key that is not
known, or a value that is not allowed, raises a `ConfigError` of one line. It names the layer, the
key, and what is allowed there.
"""

from __future__ import annotations

import contextlib
import math
import operator
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_type_hints

import msgspec
from msgspec import Meta, inspect

from actors.cluster.settings import MembershipSettings
from actors.edge.settings import SessionSettings
from actors.node.allowed import allowed
from actors.node.conflicts import conflicts
from actors.node.cores import usable_cores
from actors.node.layers import Value, doubts, from_environment, from_file, from_overrides
from actors.node.logs import LogSettings
from actors.node.sections import ConfigError, Configurable, Section, Sections, meant
from actors.quantities import PositiveSeconds, Seconds
from actors.runtime.journal_settings import JournalSettings
from actors.runtime.read_budget import RecoverySettings
from actors.runtime.snapshots import SnapshotSettings
from persistence.settings import (
    BusSettings,
    EmbeddedSettings,
    PostgresSettings,
    RedisSettings,
    ScheduleSettings,
)
from protocol.http.api_settings import ApiSettings
from protocol.server.settings import BindHost, HttpSettings, WireSettings

DEFAULT_FILE = Path("config.toml")
SECRET_KEYS = frozenset({"url", "replica_url", "token_secrets"})
"""Keys whose values are never printed. A store's URL contains its password."""

MOST_NODES = 64
"""Each node has about ten connections to PostgreSQL."""
NodeName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_-]{0,60}\Z",
        description="up to 60 letters, digits, hyphens and underscores",
    ),
]
NodeLabels = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z0-9_-]{1,60}( [A-Za-z0-9_-]{1,60}){0,15})?\Z",
        description="empty or up to 16 words of letters, digits, hyphens and underscores",
    ),
]
Port = Annotated[int, Meta(ge=0, le=65_535)]
DataDir = Annotated[str, Meta(pattern=r"^[^\x00]+\Z", description="the path of a folder")]
T = TypeVar("T")


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The processes: how many, the folder of their data, and how they stop."""

    nodes: Annotated[int, Meta(ge=1, le=MOST_NODES)] | Literal["auto"] = 1
    name: NodeName = ""
    hung_after_s: Seconds = 10.0
    hold_hung_s: Seconds = 60.0
    data_dir: DataDir = "data"
    drain_s: Seconds = 2.0
    stop_timeout_s: PositiveSeconds = 25.0
    alone: bool = True
    cluster: bool = False
    labels: tuple[NodeLabels, ...] = ()

    def labels_of(self, number: int) -> tuple[str, ...]:
        """Return the labels of a node, by its number from 0 on."""
        if not self.labels:
            return ()
        return tuple(self.labels[min(number, len(self.labels) - 1)].split())

    @property
    def clustered(self) -> bool:
        """Whether this server is of a cluster: of its own nodes, and those of other servers."""
        return self.cluster or self.node_count > 1

    @property
    def node_count(self) -> int:
        """How many nodes; "auto": one for each core that this process may use."""
        if self.nodes == "auto":
            return min(usable_cores(), MOST_NODES)
        return self.nodes


class ListenSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The address for clients. With both `tls_*` files they connect by wss, else by ws."""

    host: BindHost = "127.0.0.1"
    port: Port = 7350
    tls_certificate: str = ""
    tls_key: str = ""

    def __post_init__(self) -> None:
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("tls_certificate and tls_key must be given together")


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting of a server. Each field but `services` is a section of config.toml."""

    server: ServerSettings = ServerSettings()
    log: LogSettings = LogSettings()
    listen: ListenSettings = ListenSettings()
    wire: WireSettings = WireSettings()
    http: HttpSettings = HttpSettings()
    api: ApiSettings = ApiSettings()
    embedded: EmbeddedSettings = EmbeddedSettings()
    postgres: PostgresSettings = PostgresSettings()
    redis: RedisSettings = RedisSettings()
    journal: JournalSettings = JournalSettings()
    snapshots: SnapshotSettings = SnapshotSettings()
    recovery: RecoverySettings = RecoverySettings()
    schedules: ScheduleSettings = ScheduleSettings()
    cluster: MembershipSettings = MembershipSettings()
    bus: BusSettings = BusSettings()
    sessions: SessionSettings = SessionSettings()
    services: dict[str, Any] = {}
    """Section -> its settings, for the sections that the services of this server bring."""

    def section(self, name: str, kind: type[T]) -> T:
        """Return the settings of a service's section [name], which are of type `kind`."""
        settings = self.services[name]
        if not isinstance(settings, kind):
            raise TypeError(f"[{name}] is {type(settings).__name__}, not {kind.__name__}")
        return settings


_FRAME = [
    Section(name, kind) for name, kind in get_type_hints(Config).items() if name != "services"
]
"""The sections that every server has, whatever its services are."""


class Loaded(NamedTuple):
    """A configuration, its file, and the keys that are not at their default."""

    config: Config
    file: Path | None
    changed: dict[str, tuple[Any, str]]
    """`section.key` -> (value, the layer that set it), for keys that differ from the default."""
    doubts: tuple[str, ...] = ()
    """Warnings, a line each: names that set nothing and may have been meant as settings."""

    @property
    def folder(self) -> Path:
        """The folder that paths are relative to: the file's, or without a file the working one."""
        return (self.file.parent if self.file is not None else Path()).absolute()

    def resolve(self, path: str) -> Path:
        """Return `path` made absolute: relative ones start from `folder`."""
        return self.folder / Path(path).expanduser()


def load(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
    *,
    services: Sequence[Configurable] = (),
    absent: Iterable[Configurable] = (),
) -> Loaded:
    """Read the layers and return the settings.

    Arguments:
        file: the TOML file; None: `config.toml` in the working folder if there is one.
        environment: the environment; None: the process's own.
        overrides: `section.key=value` each, the strongest layer.
        services: the services of this server; each brings its sections.
        absent: services that this server does not list. A setting of one of them is a warning, not
            an error, so that a service can be taken out. Not iterated before an unknown section.

    Raises:
        ConfigError: the file cannot be read, or a key or value is not allowed.
    """
    if file is None and DEFAULT_FILE.is_file():
        file = DEFAULT_FILE
    environment = os.environ if environment is None else environment
    sections = Sections(_FRAME, services, absent)
    values: dict[tuple[str, str], Value] = {}
    if file is not None:
        values.update(from_file(file, sections))
    values.update(from_environment(environment, sections))
    values.update(from_overrides(overrides, sections))
    given: dict[str, dict[str, Any]] = {name: {} for name in sections.known}
    for (name, key), value in values.items():
        given[name][key] = _convert(sections, name, key, value)
    changed = {
        f"{name}.{key}": (given[name][key], value.origin)
        for (name, key), value in values.items()
        if given[name][key] != sections.known[name].default(key)
    }
    built = {name: _build(section, given[name], values) for name, section in sections.known.items()}
    config = Config(**{one.name: built.pop(one.name) for one in _FRAME}, services=built)
    _check_together(config, changed)
    return Loaded(config, file, changed, (*sections.doubts, *doubts(environment, sections)))


def known_keys(services: Sequence[Configurable] = ()) -> dict[str, dict[str, str]]:
    """Return every key: section -> key -> what it allows, in words."""
    return {
        name: {key: allowed(kind) for key, kind in section.keys.items()}
        for name, section in Sections(_FRAME, services).known.items()
    }


def _convert(sections: Sections, section: str, key: str, value: Value) -> Any:
    keys, kind = sections.known[section].keys, sections.known[section].type_of(key)
    if kind is None:
        hint = meant(key, list(keys))
        elsewhere = [f"[{name}]" for name, other in sections.known.items() if key in other.keys]
        if hint == "." and elsewhere:
            hint = f", it belongs to {' or '.join(elsewhere)}."
        raise ConfigError(
            f"{value.origin}: [{section}] has no key {key}{hint} It has {', '.join(keys)}"
        )
    raw = value.raw
    if value.text and not _is_text(kind):
        with contextlib.suppress(tomllib.TOMLDecodeError):  # it stays text, and is refused below
            raw = tomllib.loads(f"v = {raw}")["v"]
    try:
        # A blank text counts as empty, whatever layer it comes from.
        blank = isinstance(raw, str) and not raw.strip()
        converted = msgspec.convert("" if blank else raw, kind)
        if converted == math.inf:  # a stop that may take for ever would not be one
            raise msgspec.ValidationError("not finite")
        return converted
    except msgspec.ValidationError as error:
        if isinstance(inspect.type_info(kind), inspect.StructType):  # its values may be secrets
            raise ConfigError(f"{value.origin}: [{section}.{key}] {error}") from error
        shown = "" if key in SECRET_KEYS else f" = {raw!r}"
        raise ConfigError(
            f"{value.origin}: [{section}] {key}{shown} is not allowed: must be {allowed(kind)}"
        ) from error


def _build(section: Section, given: dict[str, Any], values: Mapping[tuple[str, str], Value]) -> Any:
    try:
        return section.kind(**given)
    except ValueError as error:  # from the Struct's `__post_init__`, which checks several keys
        origins = dict.fromkeys(
            values[section.name, key].origin for key in given if given[key] != section.default(key)
        )
        raise ConfigError(f"{', '.join(origins)}: [{section.name}] {error}") from error


def _check_together(config: Config, changed: Mapping[str, tuple[Any, str]]) -> None:
    def value(name: str) -> Any:
        return operator.attrgetter(name)(config)

    for conflict in conflicts(value):
        # A key that somebody has changed comes first; the other one may be at its default.
        names = sorted(conflict.keys, key=lambda name: name not in changed)
        origins = dict.fromkeys(changed[name][1] for name in names if name in changed)
        told = [f"[{name.replace('.', '] ')} = {value(name)!r}" for name in names]
        raise ConfigError(f"{', '.join(origins)}: {' and '.join(told)}: {conflict.why}")


def _is_text(kind: Any) -> bool:
    info = inspect.type_info(kind)
    if isinstance(info, inspect.Metadata):  # with a description of its own
        info = info.type
    return isinstance(info, inspect.StrType | inspect.LiteralType)
