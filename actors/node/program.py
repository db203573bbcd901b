"""What a command works on, and the checks of it before anything is started."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import NamedTuple

from actors.node.config import Loaded
from actors.node.line import ParentLine
from actors.node.pages import pages_of
from actors.node.sections import ConfigError, meant
from actors.service import Service
from persistence import postgres, redis
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


def check_program(program: Program) -> ssl.SSLContext | None:
    """Check what can be checked before anything is started; returns `tls_context`.

    Raises:
        ConfigError, CannotStart: a server could not start with this configuration.
    """
    loaded = program.loaded
    tls = tls_context(loaded)
    check_addresses(loaded)
    check_kept(loaded, program.services)
    pages_of(loaded)
    for service in program.services:
        service.check(loaded.config, loaded.folder)
    return tls


def tls_context(loaded: Loaded) -> ssl.SSLContext | None:
    """Load the certificate that the configuration names, if any. Raises `ConfigError`."""
    certificate, key = loaded.config.listen.tls_certificate, loaded.config.listen.tls_key
    if not certificate:
        return None
    files = loaded.resolve(certificate), loaded.resolve(key)
    for file in files:  # an error of OpenSSL does not name the file
        try:
            file.open("rb").close()
        except OSError as error:
            raise ConfigError(
                f"[listen] tls_certificate, tls_key: {file}: {error.strerror}"
            ) from error
    try:
        return server_context(*files)
    except OSError as error:
        both = " and ".join(str(file) for file in files)
        raise ConfigError(
            f"[listen] tls_certificate, tls_key: {both} are no PEM certificate and its key: {error}"
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
