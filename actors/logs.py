"""How a server's log looks: for people on a terminal, one JSON object a line elsewhere."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal, TextIO

import msgspec
import structlog

LEVELS = {name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error")}


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is logged, and how it looks."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"


class _Forward(logging.Handler):
    """Hands what libraries log with the standard library's logging on to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger(record.name).log(
            max(record.levelno, logging.DEBUG), record.getMessage(), exc_info=record.exc_info
        )


def configure(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Set up structlog, and the standard library's logging through it.

    Arguments:
        settings: the section of config.toml.
        stream: where lines go; the standard error by default, so that what a command answers on
            its standard output stays apart.
    """
    stream = sys.stderr if stream is None else stream
    people = settings.format == "console" or (settings.format == "auto" and stream.isatty())
    level = LEVELS[settings.level]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if people else "iso", utc=not people),
    ]
    if people:
        shared.append(structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=32))
    else:
        shared += [
            structlog.processors.format_exc_info,
            _in_order,
            structlog.processors.JSONRenderer(serializer=_to_json),
        ]
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Forward()], level=level, force=True)


def _in_order(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """When, how grave and what stand first: lines are read from the left."""
    first: dict[str, Any] = {
        name: event.pop(name) for name in ("timestamp", "level", "event") if name in event
    }
    return {**first, **event}


def _to_json(event: dict[str, Any], **_: Any) -> str:
    # Whatever else someone logs, a ref or an exception, is told by its repr rather than lost.
    return msgspec.json.encode(event, enc_hook=repr).decode()
