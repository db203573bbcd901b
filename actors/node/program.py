"""What a command works on, and the checks of it before anything is started."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import NamedTuple

from actors.node.config import ListenSettings, Loaded
from actors.node.line import ParentLine
from actors.node.pages import pages_of
from actors.node.sections import ConfigError, meant
from actors.service import Service
from persistence import postgres, redis
from protocol.http.api_settings import ApiSettings
from protocol.http.pages import Pages
from protocol.server.tls import server_context


class Program(NamedTuple):
    """The arguments of a command.

    Attributes:
        loaded: the configuration.
        services: what the server is made of.
        version: Greenroom's.
        line: the line to the parent that started this process, if one did.
    """

    loaded: Loaded
    services: tuple[Service, ...]
    version: str
    line: ParentLine | None = None


class Certificates(NamedTuple):
    """The certificates of a server's listeners; None: no TLS there."""

    clients: ssl.SSLContext | None
    api: ssl.SSLContext | None


class Checked(NamedTuple):
    """What the checks have read, to be served with."""

    tls: Certificates
    pages: Pages | None


def check_program(program: Program) -> Checked:
    """Check what can be checked before anything is started; returns the files that it has read.

    Raises:
        ConfigError, CannotStart: a server could not start with this configuration.
    """
    loaded = program.loaded
    config = loaded.config
    tls = Certificates(
        tls_context(loaded, "listen", config.listen), tls_context(loaded, "api", config.api)
    )
    check_addresses(loaded)
    check_kept(loaded, program.services)
    pages = pages_of(loaded)
    for service in program.services:
        service.check(loaded.config, loaded.folder)
    return Checked(tls, pages)


def tls_context(
    loaded: Loaded, section: str, settings: ListenSettings | ApiSettings
) -> ssl.SSLContext | None:
    """Load the certificate that a section names, if any. Raises `ConfigError`."""
    certificate, key = settings.tls_certificate, settings.tls_key
    if not certificate:
        return None
    files = loaded.resolve(certificate), loaded.resolve(key)
    for file in files:  # an error of OpenSSL does not name the file
        try:
            file.open("rb").close()
        except OSError as error:
            raise ConfigError(
                f"[{section}] tls_certificate, tls_key: {file}: {error.strerror}"
            ) from error
    try:
        return server_context(*files)
    except OSError as error:
        both = " and ".join(str(file) for file in files)
        raise ConfigError(
            f"[{section}] tls_certificate, tls_key: {both} are no PEM certificate and its key:"
            f" {error}"
        ) from error


def check_addresses(loaded: Loaded) -> None:
    """Check the stores' URLs before anything is started. Raises `ConfigError`."""
    settings = loaded.config
    for name, url, problem_of in (
        ("postgres.url", settings.postgres.url, postgres.address_problem),
        ("postgres.replica_url", settings.postgres.replica_url, postgres.address_problem),
        ("redis.url", settings.redis.url, redis.address_problem),
    ):
        if url and (problem := problem_of(url)):
            section, _, key = name.partition(".")
            origin = loaded.changed[name][1]
            raise ConfigError(f"{origin}: [{section}] {key} is not allowed: {problem}")


def check_kept(loaded: Loaded, services: Sequence[Service]) -> None:
    """Check that the kinds that are kept to labels are there. Raises `ConfigError`."""
    known = [kind for service in services for kind in service.kinds]
    for kind in loaded.config.cluster.kept:
        if kind not in known:
            origin = loaded.changed["cluster.kept"][1]
            raise ConfigError(
                f"{origin}: [cluster] kept: there is no kind of actor {kind!r}{meant(kind, known)}"
                f" There are {', '.join(known)}"
            )
