"""The games a server runs, found by the paths that its configuration names."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from actors.rules.game import Game


class NoSuchGame(Exception):  # noqa: N818 - a state, not a failure of this program
    """A path leads to no game. One line, for whoever wrote it."""


def load_games(paths: Mapping[str, str]) -> dict[str, type[Game]]:
    """Import games.

    Arguments:
        paths: name -> "package.module:Class", as in config.toml.

    Raises:
        NoSuchGame: there is no such module or class, or it is no Game.
        Exception: whatever a module that is there raises when it is imported.
    """
    return {name: _load(name, path) for name, path in paths.items()}


def _load(name: str, path: str) -> type[Game]:
    module, _, attribute = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        raise NoSuchGame(f"[games] {name}: no module named {error.name}") from error
    if found is None:
        raise NoSuchGame(f"[games] {name}: {module} has no {attribute}")
    if not (isinstance(found, type) and issubclass(found, Game)):
        raise NoSuchGame(f"[games] {name}: {path} is not a Game")
    return found
