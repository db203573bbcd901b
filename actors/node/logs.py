"""The format of a server's log: lines for people on a terminal, one JSON object a line elsewhere.

Logging never fails: a line that cannot be written must not make the code fail that logs it. An
actor logs the errors of a game, whatever values they hold. The log may be a pipe that nobody reads
any more, or on a full disk. Logging does not wait either: see `LogWriter`.
"""

from __future__ import annotations

import atexit
import json
import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any, Literal, TextIO, cast

import msgspec
import structlog
from msgspec import Meta

from actors.node.log_writer import LogWriter

LAST_WORDS_S = 1.0
"""How long the end of a process waits for its log to be written."""
LEVELS = {name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error")}


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The level and the format of the log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"
    queue_bytes: Annotated[int, Meta(ge=4096)] = 4_194_304
    """Bytes of lines that wait to be written. Further lines are dropped, and a line counts them."""


class _Forward(logging.Handler):
    """Passes records of the standard library's logging, which libraries use, on to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # the format does not fit the arguments
            message = str(record.msg)
        structlog.get_logger(record.name).log(
            max(record.levelno, logging.DEBUG), message, exc_info=record.exc_info
        )


def is_for_people(settings: LogSettings, *, terminal: bool) -> bool:
    """Whether lines are for people; else each is a JSON object."""
    return settings.format == "console" or (settings.format == "auto" and terminal)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream, if there is one, is a terminal."""
    return stream is not None and stream.isatty()


def configure(
    settings: LogSettings, stream: TextIO | None = None, *, terminal: bool | None = None
) -> LogWriter:
    """Set up structlog, and the standard library's logging through it; returns the writer.

    Arguments:
        settings: the section of config.toml.
        stream: the lines' destination; by default standard error, so that standard output has only
            the answer of a command.
        terminal: whether the lines are shown on a terminal; None: whether the stream is one.
    """
    stream = stream or sys.stderr
    terminal = is_terminal(stream) if terminal is None else terminal
    people = is_for_people(settings, terminal=terminal)
    level = LEVELS[settings.level]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if people else "iso", utc=not people),
    ]
    if people:
        renderer = structlog.dev.ConsoleRenderer(colors=terminal, pad_event_to=32)
        shared.append(_always(renderer))
    else:
        shared += [
            structlog.processors.format_exc_info,
            _in_order,
            _always(structlog.processors.JSONRenderer(serializer=_to_json)),
        ]
    writer = LogWriter(stream, queue_bytes=settings.queue_bytes, told=partial(_told, shared))
    # The last lines of a process matter most, so its end waits a moment for them.
    atexit.register(writer.drain, LAST_WORDS_S)
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", writer)),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Forward()], level=level, force=True)
    # At level info Pykka logs a traceback for each error that an asker gets, for example for each
    # request while a store is away. The asker has the error, and logs it if it matters.
    logging.getLogger("pykka").setLevel(level if level <= logging.DEBUG else logging.WARNING)
    return writer


def _told(processors: Sequence[Callable[..., Any]], dropped: int) -> str:
    """Return the line that says how many lines were dropped, in the format of the log."""
    event: Any = {"event": "log lines dropped", "lines": dropped, "why": "nobody reads the log"}
    for process in processors:
        event = process(None, "warning", event)
    return f"{event}\n"


def _in_order(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """Put the time, the level and the event first."""
    first: dict[str, Any] = {
        name: event.pop(name) for name in ("timestamp", "level", "event") if name in event
    }
    return {**first, **event}


def _to_json(event: dict[str, Any], **_: Any) -> str:
    # A value that JSON does not know, a ref or an exception, is logged as its repr.
    try:
        return msgspec.json.encode(event, enc_hook=repr).decode()
    except (ValueError, TypeError, OverflowError, RecursionError):
        # The slower encoder takes half a surrogate pair and an integer beyond 64 bits.
        return json.dumps(event, default=repr)


def _always(render: Callable[..., Any]) -> Callable[..., Any]:
    """Return `render` with a fallback: if it fails, a line that says so."""

    def rendered(logger: Any, method: str, event: dict[str, Any]) -> Any:
        what = str(event.get("event", ""))
        try:
            return render(logger, method, event)
        except Exception as error:
            return json.dumps({"level": method, "event": what, "unreadable": type(error).__name__})

    return rendered
