"""Loads the services of a server by the paths that server.py lists."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence

import actors
from actors.service import Service


def load_services(paths: Sequence[str]) -> tuple[Service, ...]:
    """Import services.

    Arguments:
        paths: "package.module:NAME" for each service.

    Raises:
        ValueError: two services have the same name.
    """
    found = tuple(map(_load, paths))
    names = [service.name for service in found]
    if len(set(names)) < len(names):
        raise ValueError(f"two services have one name: {', '.join(names)}")
    return found


def absent_services(present: Sequence[Service]) -> Iterator[Service]:
    """Yield the services that this program has but this server does not list."""
    names = {service.name for service in present}
    for folder in pkgutil.iter_modules(actors.__path__, "actors."):
        if folder.ispkg and importlib.util.find_spec(f"{folder.name}.service"):
            for value in vars(importlib.import_module(f"{folder.name}.service")).values():
                if isinstance(value, Service) and value.name not in names:
                    yield value


def _load(path: str) -> Service:
    module, _, name = path.partition(":")
    service = getattr(importlib.import_module(module), name)
    assert isinstance(service, Service)
    return service
