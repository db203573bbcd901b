"""The games a server runs, found by the paths that its configuration names."""

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
"""Above it a tick has less time than the event loop needs to get to it."""


class NoSuchGame(CannotStart):
    """A path leads to no game. One line, for whoever wrote it."""


def load_games(paths: Mapping[str, str], beside: Path | None = None) -> dict[str, type[Game]]:
    """Import games.

    Arguments:
        paths: name -> "package.module:Class", as in config.toml.
        beside: a folder that is looked in first, as Python does for the script it runs: a game
            lies beside the config.toml that names it, however the server was started. From then
            on it is on Python's path, for what a game imports later.

    Raises:
        NoSuchGame: the name cannot be one, there is no such module or class, the module cannot be
            imported, or the class is no Game or not one that could be played.
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
    except (Exception, SystemExit) as error:  # whatever an embedder's module may do
        raise NoSuchGame(f"[games] {name}: {module} cannot be imported: {_told(error)}") from error


def _told(error: BaseException) -> str:
    """What was raised and where, in one line: there is no traceback beside it."""
    last = traceback.TracebackException.from_exception(error)
    text = " ".join(str(error).split())
    if isinstance(error, SyntaxError):  # it says where by itself
        return f"{type(error).__name__}: {text}"
    frame = last.stack[-1]
    return f"{type(error).__name__}: {text} ({frame.filename}, line {frame.lineno})"


def _unplayable(game: type[Game]) -> str | None:
    """What makes the class unplayable; None: it can be played."""
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
            msgspec.msgpack.Decoder(wanted)  # looks at the whole type, not just at one value's part
        except (TypeError, NameError) as error:
            text = " ".join(str(error).split())
            return f"{key} = {wanted!r} is no type that an input can be converted to: {text}"
    return None
