"""Loads the games that a server runs, by the paths in its configuration."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from actors.matches.host import name_problem
from actors.matches.rules.game import Game
from actors.service import CannotStart

MAX_TICK_HZ: Final = 1000.0
"""The highest tick rate. Above it the event loop could not get to each tick in time."""


class NoSuchGame(CannotStart):
    """A path in [games] leads to no game that can be played. The text is one line."""


def load_games(paths: Mapping[str, str], beside: Path | None = None) -> dict[str, type[Game]]:
    """Import games, and return the class of each by its name.

    Arguments:
        paths: name -> "package.module:Class", as in config.toml.
        beside: a folder to look in first; the server gives the folder of config.toml, so that a
            game can lie beside it however the server was started. The folder stays on Python's
            path, for what a game imports later.

    Raises:
        NoSuchGame: the name is not allowed, there is no such module or class, the module cannot be
            imported, or the class is no Game or has attributes that no match could be played with.
    """
    if paths and beside is not None and str(beside) not in sys.path:
        sys.path.insert(0, str(beside))
    return {name: _load(name, path) for name, path in paths.items()}


def _load(name: str, path: str) -> type[Game]:
    if problem := name_problem(name):
        raise NoSuchGame(f"[games] {name!r}: {problem}")
    module, _, attribute = path.partition(":")
    found = getattr(_imported(name, module), attribute, None)
    if found is None:
        raise NoSuchGame(f"[games] {name}: {module} has no {attribute}")
    if not (isinstance(found, type) and issubclass(found, Game)):
        raise NoSuchGame(f"[games] {name}: {path} is not a Game")
    if problem := _unplayable(found):
        raise NoSuchGame(f"[games] {name}: {path}: {problem}")
    return found


def _imported(name: str, module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise NoSuchGame(f"[games] {name}: no module named {error.name}") from error
    except (Exception, SystemExit) as error:  # an operator's module may raise anything
        raise NoSuchGame(f"[games] {name}: {module} cannot be imported: {_told(error)}") from error


def _told(error: BaseException) -> str:
    """Say in one line what was raised and where, since no traceback is shown."""
    last = traceback.TracebackException.from_exception(error)
    text = " ".join(str(error).split())
    if isinstance(error, SyntaxError):  # its text says where
        return f"{type(error).__name__}: {text}"
    frame = last.stack[-1]
    return f"{type(error).__name__}: {text} ({frame.filename}, line {frame.lineno})"


def _unplayable(game: type[Game]) -> str | None:
    """Return why no match can be played with the class, or None if one can."""
    hz: object = game.tick_hz
    if not isinstance(hz, int | float) or isinstance(hz, bool) or not 0 <= hz <= MAX_TICK_HZ:
        return f"tick_hz = {hz!r} is not allowed: must be a number from 0 up to {MAX_TICK_HZ:g}"
    fewest: object = game.min_players
    most: object = game.max_players
    for key, value in (("min_players", fewest), ("max_players", most)):
        if type(value) is not int or value < 1:
            return f"{key} = {value!r} is not allowed: must be a whole number from 1"
    if game.min_players > game.max_players:
        return f"min_players = {fewest} is more than max_players = {most}"
    for key, wanted in (("input_type", game.input_type), ("params_type", game.params_type)):
        try:
            # Checks the whole type, as converting a value would not.
            msgspec.msgpack.Decoder(wanted)
        except (TypeError, NameError) as error:
            text = " ".join(str(error).split())
            return f"{key} = {wanted!r} is no type that an input can be converted to: {text}"
    return None
