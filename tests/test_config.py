"""Every layer of the configuration, and the one line that each mistake is reported in."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import server
from actors.matches.settings import MatchSettings
from actors.node import config
from actors.node.allowed import allowed
from actors.node.config import Config, known_keys
from actors.node.logs import LAST_WORDS_S
from actors.node.sections import ConfigError, Configurable
from actors.node.services import load_services

SERVICES = load_services(server.SERVICES)
SHIPPED = Path(__file__).parent.parent / "config.toml"
EXAMPLES = {"arena": "arena:Arena", "tictactoe": "tictactoe:TicTacToe"}
KINDS = {name: kind for service in SERVICES for name, kind in service.sections.items()}
SECTIONS = known_keys(SERVICES)
KEYS = [(section, key) for section, keys in SECTIONS.items() for key in keys]
DEFAULTS = Config(services={name: kind() for name, kind in KINDS.items()})
load = partial(config.load, services=SERVICES)


def refused(**layers: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(**{"environment": {}, **layers})
    text = str(caught.value)
    assert "\n" not in text
    return text


def written(folder: Path, text: str) -> Path:
    file = folder / "config.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_file_as_shipped_equals_the_defaults() -> None:
    loaded = load(SHIPPED, environment={})
    examples = {name: f"examples.{module}" for name, module in EXAMPLES.items()}
    services = DEFAULTS.services | {"games": examples}
    assert loaded.config == Config(services=services)
    assert {key: value for key, (value, _) in loaded.changed.items()} == {
        f"games.{name}": path for name, path in examples.items()
    }


def test_the_file_as_shipped_names_every_key_and_comments_on_it() -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    assert list(tables) == list(SECTIONS)
    assert [(section, key) for section, key in KEYS if key not in tables[section]] == []
    lines = text.splitlines()
    section = ""
    for above, line in zip(["", *lines], lines, strict=False):
        if line.startswith("["):
            section = line[1 : line.index("]")]
        elif re.match(r"\w+ =", line) and section != "games":
            assert "  # " in line or above.startswith("#"), f"no comment: [{section}] {line}"


def test_every_type_in_a_section_can_be_explained() -> None:
    vague = [pair for pair in KEYS if SECTIONS[pair[0]][pair[1]] == "true or false"]
    settings = {name: getattr(DEFAULTS, name, None) for name in SECTIONS} | DEFAULTS.services
    assert all(isinstance(getattr(settings[s], k), bool) for s, k in vague)
    assert allowed(msgspec.structs.fields(type(DEFAULTS.listen))[1].type) == (
        "a whole number from 0 up to 65,535"
    )


def test_a_proxy_that_is_no_network_is_refused() -> None:
    text = refused(overrides=['wire.trusted_proxies=["my-proxy"]'])
    assert "[wire] trusted_proxies: 'my-proxy' does not appear to be" in text


def test_without_a_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load(environment={})
    assert (loaded.config, loaded.file) == (DEFAULTS, None)


def test_a_file_in_the_working_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, "[listen]\nport = 7\n")
    monkeypatch.chdir(tmp_path)
    assert load(environment={}).config.listen.port == 7


def test_the_later_layer_wins(tmp_path: Path) -> None:
    file = written(tmp_path, "[listen]\nport = 1\nhost = 'a'\n[log]\nlevel = 'error'\n")
    loaded = load(
        file,
        environment={"GREENROOM_LISTEN__PORT": "2", "GREENROOM_LISTEN__HOST": "b", "HOME": "/"},
        overrides=["listen.port=3"],
    )
    assert loaded.config.listen.port == 3
    assert loaded.config.listen.host == "b"
    assert loaded.config.log.level == "error"
    assert loaded.changed["listen.port"] == (3, "--set listen.port")
    assert loaded.changed["listen.host"] == ("b", "environment variable GREENROOM_LISTEN__HOST")
    assert loaded.changed["log.level"] == ("error", str(file))


def test_a_text_key_takes_text_that_looks_like_a_number() -> None:
    for key, text in (("server.data_dir", "2026"), ("redis.prefix", "1")):
        section, _, name = key.partition(".")
        loaded = load(environment={}, overrides=[f"{key}={text}"]).config
        assert getattr(getattr(loaded, section), name) == text


def test_there_are_the_games_that_are_named_and_no_others(tmp_path: Path) -> None:
    file = written(tmp_path, '[games]\nchess = "my.chess:Chess"\n')
    assert load(file, environment={}).config.services["games"] == {"chess": "my.chess:Chess"}
    both = load(file, environment={}, overrides=["games.go=my.go:Go"]).config.services["games"]
    assert both == {"chess": "my.chess:Chess", "go": "my.go:Go"}


def test_relative_paths_start_from_the_folder_of_the_file(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, ""), environment={})
    assert loaded.resolve("data") == tmp_path / "data"
    assert loaded.resolve("/srv/data") == Path("/srv/data")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "nowhere.toml"
    assert refused(file=file) == f"{file}: cannot be read: No such file or directory"


def test_broken_toml_is_named_with_its_line(tmp_path: Path) -> None:
    file = written(tmp_path, "[listen]\nport = \n")
    assert refused(file=file).startswith(f"{file}: not valid TOML: ")
    assert "line 2" in refused(file=file)


def test_an_unknown_section_gets_a_suggestion(tmp_path: Path) -> None:
    file = written(tmp_path, "[lisen]\nport = 1\n")
    assert f"{file}: unknown section [lisen], did you mean [listen]?" in refused(file=file)


def test_a_key_outside_a_section_is_named(tmp_path: Path) -> None:
    file = written(tmp_path, "listen = 1\n")
    assert refused(file=file) == f"{file}: [listen] must be a table of keys, not 1"


def test_an_unknown_key_gets_a_suggestion_and_the_list(tmp_path: Path) -> None:
    file = written(tmp_path, "[listen]\nprot = 1\n")
    assert refused(file=file) == (
        f"{file}: [listen] has no key prot, did you mean port?"
        " It has host, port, tls_certificate, tls_key"
    )


def test_a_key_of_another_section_is_pointed_at(tmp_path: Path) -> None:
    file = written(tmp_path, '[log]\ntls_key = ""\n')
    assert f"{file}: [log] has no key tls_key, it belongs to [listen] or [api]. It has " in refused(
        file=file
    )


def test_a_wrong_value_says_what_is_allowed(tmp_path: Path) -> None:
    file = written(tmp_path, "[listen]\nport = 65536\n")
    assert refused(file=file) == (
        f"{file}: [listen] port = 65536 is not allowed: must be a whole number from 0 up to 65,535"
    )
    assert refused(overrides=["log.level=loud"]) == (
        "--set log.level: [log] level = 'loud' is not allowed:"
        ' must be one of "debug", "error", "info", "warning"'
    )
    assert refused(environment={"GREENROOM_HTTP__ENABLED": "maybe"}) == (
        "environment variable GREENROOM_HTTP__ENABLED: [http] enabled = 'maybe' is not allowed:"
        " must be true or false"
    )
    assert "package.module:Class" in refused(overrides=["games.chess=chess"])
    assert "must be a path that begins with" in refused(overrides=["wire.path=ws"])
    assert "must be the path of a folder" in refused(overrides=["server.data_dir=a\0b"])


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
def test_no_time_is_endless(value: str) -> None:
    assert refused(overrides=[f"server.drain_s={value}"]).endswith("must be a number from 0")


def test_half_of_a_pair_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "[listen]\ntls_key = 'k.pem'\n")
    assert refused(file=file) == (
        f"{file}: [listen] tls_certificate and tls_key must be given together"
    )


def test_an_override_needs_its_form() -> None:
    for override in ("listen.port", "port=1", "=", "listen.=1"):
        assert "must be SECTION.KEY=VALUE" in refused(overrides=[override])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(st.sampled_from(KEYS), JSON)
def test_any_value_is_taken_or_refused_in_one_line_that_names_it(
    pair: tuple[str, str], value: Any
) -> None:
    section, key = pair
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    line = ""
    try:
        load(environment={}, overrides=[f"{section}.{key}={text}"])
    except ConfigError as error:
        line = str(error)
    assert not line or line.startswith(f"--set {section}.{key}: [{section}]")
    assert "\n" not in line


@settings(max_examples=50)
@given(st.sampled_from(KEYS), st.data())
def test_a_letter_too_many_is_understood(pair: tuple[str, str], data: st.DataObject) -> None:
    section, key = pair
    at = data.draw(st.integers(0, len(key)))
    typo = key[:at] + "q" + key[at:]
    text = refused(overrides=[f"{section}.{typo}=1"])
    assert "did you mean " in text


# --- slips ---------------------------------------------------------------------------------------


def test_an_empty_variable_is_unset() -> None:
    """Compose makes one of `${HOST}` if its own environment has no HOST."""
    empty = {f"GREENROOM_{section}__{key}".upper(): "" for section, key in KEYS}
    assert load(SHIPPED, environment=empty) == load(SHIPPED, environment={})
    blank = dict.fromkeys(empty, " \t")
    assert load(SHIPPED, environment=blank) == load(SHIPPED, environment={})


@pytest.mark.parametrize("key", ["postgres.url", "postgres.replica_url", "redis.url"])
def test_blank_text_is_empty_whatever_layer_brings_it(key: str, tmp_path: Path) -> None:
    section, _, name = key.partition(".")
    loaded = load(written(tmp_path, f"[{section}]\n{name} = ' '\n"), environment={})
    assert (loaded.config, loaded.changed) == (DEFAULTS, {})
    assert load(environment={}, overrides=[f"{key}= "]).config == load(environment={}).config


def test_no_address_to_listen_on_is_not_every_address(tmp_path: Path) -> None:
    for section in ("listen", "http"):
        for text in ("", " "):
            file = written(tmp_path, f"[{section}]\nhost = '{text}'\n")
            assert refused(file=file) == (
                f"{file}: [{section}] host = '{text}' is not allowed: must be an address or a name"
                ' of this machine, without brackets and port, "0.0.0.0" or "::" for every one'
            )


@pytest.mark.parametrize(
    "name",
    [
        "GREENROOM_LISTEN_PORT",
        "GREENROOM_LISTEN_PRT",
        "greenroom_listen__port",
        "Greenroom_Listen__Port",
        "Greenroom_Listen_Port",
        "GREENROOM_Listen__Port",
    ],
)
def test_a_variable_that_was_meant_as_a_setting_is_told(name: str) -> None:
    loaded = load(SHIPPED, environment={name: "7400"})
    assert loaded.config == load(SHIPPED, environment={}).config
    assert loaded.doubts == (
        f"environment variable {name} sets nothing, did you mean GREENROOM_LISTEN__PORT?",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GREENROOM_PORT", "tcp://10.0.0.1:7350"),
        ("GREENROOM_PORT_7350_TCP", "tcp://10.0.0.1:7350"),
        ("GREENROOM_PORT_7350_TCP_PORT", "7350"),
        ("GREENROOM_SERVICE_PORT_CLIENTS", "7350"),
        ("GREENROOM_PORT", ""),
        ("GREENROOM_SERVICE_HOST", "10.0.0.1"),
        ("GREENROOM_SERVICE_PORT", "7350"),
        ("GREENROOM_HTTP_PORT", "tcp://10.0.0.1:7351"),
        ("GREENROOM_HTTP_PORT_7351_TCP_ADDR", "10.0.0.1"),
        ("GREENROOM_REDIS_SERVICE_HOST", "10.0.0.2"),
        ("GREENROOM_LISTEN__PORT", "7400"),
        ("LISTEN_PORT", "7400"),
    ],
)
def test_what_others_or_kubernetes_name_alike_is_not_told(name: str, value: str) -> None:
    assert load(SHIPPED, environment={name: value}).doubts == ()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        (
            "GREENROOM_PORT",
            ", did you mean GREENROOM_LISTEN__PORT or GREENROOM_HTTP__PORT or GREENROOM_API__PORT?",
        ),
        ("GREENROOM_HOME", ": a setting is GREENROOM_SECTION__KEY, in capitals"),
        ("GREENROOM_Foo__Bar", ": a setting is GREENROOM_SECTION__KEY, in capitals"),
    ],
)
def test_any_other_variable_of_our_name_is_told(name: str, hint: str) -> None:
    loaded = load(SHIPPED, environment={name: "7400"})
    assert loaded.config == load(SHIPPED, environment={}).config
    assert loaded.doubts == (f"environment variable {name} sets nothing{hint}",)


def test_a_section_that_stands_twice_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(SHIPPED.read_text("utf-8") + '\n[games]\nchess = "my:Chess"\n', "utf-8")
    assert refused(file=file) == (
        f"{file}: [games] stands there twice: put the keys of both under one"
    )


def test_a_stop_has_time_for_all_of_its_parts_and_kubernetes_for_the_stop() -> None:
    defaults = Config()
    one_store = 5.0  # what an actor has where it says nothing else; they stop together
    parts = [defaults.server.drain_s, defaults.journal.drain_s]
    parts += [defaults.snapshots.flush_s, one_store]
    assert sum(parts) + 1 < defaults.server.stop_timeout_s <= 30 - 2 * LAST_WORDS_S - 1


def test_an_operator_chooses_without_which_stores_it_is_ready() -> None:
    chosen = {"[]": (), '["redis", "postgresql"]': ("redis", "postgresql")}
    for text, stores in chosen.items():
        loaded = load(SHIPPED, environment={"GREENROOM_HTTP__READY_WITHOUT": text})
        assert loaded.config.http.ready_without == stores
    assert refused(overrides=['http.ready_without=["valkey"]']).endswith(
        'must be a list, each one of "postgresql", "redis"'
    )


# --- what cannot work ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["[::1]", "[::]", "::1]", "127.0.0.1:7350", "host:7350", "[::1]:7"]
)
def test_a_host_with_brackets_or_a_port_is_refused(host: str) -> None:
    for section in ("listen", "http"):
        line = refused(overrides=[f"{section}.host={host}"])
        assert line.startswith(f"--set {section}.host: [{section}] host = '{host}' is not allowed:")
        assert "without brackets and port" in line


@pytest.mark.parametrize(
    "host", ["999.1.1.1", "127", "127.1", "1.2.3.4.5", "256.0.0.1", "01.2.3.4", "...", "1.2.3."]
)
def test_a_host_of_digits_and_dots_is_an_ipv4_address(host: str) -> None:
    for section in ("listen", "http"):
        line = refused(overrides=[f"{section}.host={host}"])
        assert line.startswith(f"--set {section}.host: [{section}] host = '{host}' is not allowed:")


@pytest.mark.parametrize(
    "host",
    [
        *["::1", "::", "fe80::1%eth0", "::ffff:10.0.0.1"],
        *["10.0.0.1", "255.255.255.255", "0.0.0.0", "a", "4.example", "10.0.0.1.example", "7a"],
    ],
)
def test_a_host_is_an_address_or_a_name(host: str) -> None:
    overrides = [f"listen.host={host}", "log.level=info"]
    assert load(environment={}, overrides=overrides).config.listen.host == host


@pytest.mark.parametrize(
    ("clients", "http"),
    [
        ("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "::"), ("::", "::1"),
        ("localhost", "::1"), ("localhost", "127.0.0.1"), ("a.example", "a.example"),
    ],
)  # fmt: skip
def test_two_listeners_on_one_port_are_refused(clients: str, http: str) -> None:
    hosts = [f"listen.host={clients}", f"http.host={http}"]
    assert refused(overrides=[*hosts, "http.port=7350"]) == (
        "--set http.port: [http] port = 7350 and [listen] port = 7350:"
        " only one of them can have the port"
    )
    assert refused(overrides=[*hosts, "listen.port=7351"]).startswith(
        "--set listen.port: [listen] port = 7351 and [http] port = 7351: "
    )


@pytest.mark.parametrize(
    "overrides",
    [
        ["listen.port=0", "http.port=0", "api.port=0"],
        ["http.port=7350", "http.enabled=false"],
        ["http.port=7350", "listen.host=10.0.0.1"],
        ["http.port=7350", "listen.host=::1"],
        ["http.port=7350", "listen.host=a.example"],
        ["server.drain_s=25"],
    ],
)
def test_what_does_not_meet_is_no_conflict(overrides: list[str]) -> None:
    load(environment={}, overrides=overrides)


def test_a_drain_beyond_the_time_for_the_stop_is_refused(tmp_path: Path) -> None:
    why = "a stop is cut short before all connections are closed"
    assert refused(overrides=["server.drain_s=600"]) == (
        f"--set server.drain_s: [server] drain_s = 600.0 and [server] stop_timeout_s = 25.0: {why}"
    )
    file = written(tmp_path, "[server]\ndrain_s = 20\n")
    assert refused(file=file, overrides=["server.stop_timeout_s=1"]) == (
        f"{file}, --set server.stop_timeout_s: [server] drain_s = 20.0 and"
        f" [server] stop_timeout_s = 1.0: {why}"
    )


@pytest.mark.parametrize("section", ["postgres", "redis", "schedules"])
def test_a_first_pause_beyond_the_longest_is_refused(section: str) -> None:
    line = refused(overrides=[f"{section}.first_retry_s=301"])
    assert line.startswith(f"--set {section}.first_retry_s: [{section}] first_retry_s = 301.0 and ")


def test_a_time_to_connect_that_libpq_does_not_know_is_refused() -> None:
    line = refused(overrides=["postgres.connect_timeout_s=0.5"])
    assert line.endswith("connect_timeout_s = 0.5 is not allowed: must be a number from 2")


# --- services ------------------------------------------------------------------------------------


class TrialSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a service that these tests make up."""

    objects: int = 10
    name: str = ""


class Trial(NamedTuple):
    name: str = "trial"
    sections: Mapping[str, type[Any]] = {"trial": TrialSettings, "things": dict[str, int]}


def test_a_service_brings_sections_of_its_own(tmp_path: Path) -> None:
    file = written(tmp_path, "[trial]\nobjects = 3\n[things]\nchairs = 4\n[rooms]\nrecent = 5\n")
    services: list[Configurable] = [*SERVICES, Trial()]
    layers: dict[str, Any] = {"environment": {"GREENROOM_TRIAL__NAME": "x"}, "services": services}
    loaded = load(file, overrides=["things.tables=2"], **layers)
    assert loaded.config.section("trial", TrialSettings) == TrialSettings(objects=3, name="x")
    assert loaded.config.section("things", dict) == {"chairs": 4, "tables": 2}
    assert loaded.changed["trial.objects"] == (3, str(file))
    assert loaded.doubts == ()
    assert known_keys(services)["trial"] == {"objects": "a whole number above 0", "name": "text"}
    for override, why in {
        "trial.objects=0": "[trial] objects = 0 is not allowed: must be a whole number above 0",
        "trial.object=1": "[trial] has no key object, did you mean objects? It has objects, name",
        "things.chairs=many": "[things] chairs = 'many' is not allowed: must be a whole number",
        "trail.objects=1": "unknown section [trail], did you mean [trial]? There are [server], ",
    }.items():
        line = refused(overrides=[override], services=services)
        assert line.startswith(f"--set {override.partition('=')[0]}: {why}")


def test_a_section_is_of_the_type_that_its_service_says() -> None:
    assert DEFAULTS.section("matches", MatchSettings) == MatchSettings()
    with pytest.raises(TypeError, match=r"^\[rooms\] is RoomSettings, not MatchSettings$"):
        DEFAULTS.section("rooms", MatchSettings)


@pytest.mark.parametrize("name", ["listen", "rooms"])
def test_no_two_bring_the_same_section(name: str) -> None:
    twice = Trial(sections={name: TrialSettings})
    with pytest.raises(ValueError, match=rf"^\[{name}\] of trial is there already$"):
        load(environment={}, services=[*SERVICES, twice])


@pytest.mark.parametrize("out", SERVICES, ids=lambda service: service.name)
def test_with_a_service_taken_out_the_file_as_shipped_still_starts_a_server(out: Any) -> None:
    services = [service for service in SERVICES if service is not out]
    loaded = load(SHIPPED, environment={}, services=services, absent=[out])
    assert set(loaded.config.services) == set(KINDS) - set(out.sections)
    assert loaded.doubts == tuple(
        f"{SHIPPED}: [{section}] sets nothing: the service {out.name} is not in this server"
        for section in out.sections
    )


def test_what_any_layer_sets_for_an_absent_service_is_told() -> None:
    why = "the service trial is not in this server"
    layers: dict[str, Any] = {"environment": {"GREENROOM_TRIAL__NAME": "x"}, "absent": [Trial()]}
    loaded = load(SHIPPED, overrides=["things.chairs=4", "log.level=error"], **layers)
    assert loaded.config.log.level == "error"
    assert loaded.doubts == (
        f"environment variable GREENROOM_TRIAL__NAME: [trial] sets nothing: {why}",
        f"--set things.chairs: [things] sets nothing: {why}",
    )


def test_other_services_are_looked_for_only_if_something_unknown_is_set() -> None:
    looked = []

    def others() -> Iterator[Trial]:
        looked.append(True)
        yield Trial()

    load(SHIPPED, environment={}, absent=others())
    assert not looked
    assert load(SHIPPED, environment={}, overrides=["trial.name=x"], absent=others()).doubts
    assert refused(overrides=["trial.name=x", "lisen.port=1"], absent=others()).startswith(
        "--set lisen.port: unknown section [lisen], did you mean [listen]?"
    )


def test_labels_that_no_server_could_live_by_are_refused() -> None:
    clustered = ["server.nodes=2", 'cluster.kept={match = "games"}']
    assert load(environment={}, overrides=[*clustered, 'server.labels=["", "games"]'])
    for labels, why in (
        ('["", "games", "games"]', "there are fewer nodes"),
        ('["game"]', "nothing is kept to one of these labels"),
        ('["ga mes"]', "nothing is kept to one of these labels"),
        ('["games  any"]', "must be a list, each empty or up to 16 words"),
    ):
        assert why in refused(overrides=[*clustered, f"server.labels={labels}"])
    alone = ['cluster.kept={match = "games"}', 'server.labels=["games"]']
    assert "a server that is alone has to do everything" in refused(overrides=alone)
    assert "must be a table, each a label" in refused(overrides=['cluster.kept={match = "a b"}'])


def test_the_labels_of_nodes_are_given_in_order_and_the_last_ones_are_of_all_after_it() -> None:
    clustered = ["server.nodes=4", 'cluster.kept={match = "games"}']
    server = load(
        environment={}, overrides=[*clustered, 'server.labels=["", "games any"]']
    ).config.server
    assert [server.labels_of(n) for n in range(3)] == [(), ("games", "any"), ("games", "any")]
    assert load(environment={}).config.server.labels_of(3) == ()
