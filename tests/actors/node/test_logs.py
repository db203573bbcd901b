"""Logging never fails, whatever is logged and wherever the lines go."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any, Literal

import pykka
import pytest
import structlog

from actors.node.logs import LogSettings, configure


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Pipe(io.StringIO):
    """A log file that cannot be written to: a broken pipe, or a full disk."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    configured = structlog.get_config()
    yield
    structlog.configure(**configured)
    logging.basicConfig(handlers=handlers, level=level, force=True)


ODD: list[Any] = [
    "\ud800",
    2**80,
    {1: 2},
    {(1, 2): 3},
    Unspeakable(),
    ValueError("\ud800"),
    b"\xff",
]


@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("form", ["json", "console"])
def test_whatever_is_logged_is_one_line(form: Literal["json", "console"], value: Any) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    writer = configure(LogSettings(format=form), stream)
    structlog.get_logger("test").error("odd", value=value)
    assert writer.drain(10)
    stream.seek(0)
    lines = stream.read().splitlines()
    assert len(lines) == 1
    assert "odd" in lines[0]
    if form == "json":
        assert json.loads(lines[0])["event"] == "odd"


def test_without_a_standard_error_there_is_no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    configure(LogSettings())
    structlog.get_logger("test").error("unheard")


def test_an_exception_with_text_that_is_none_is_logged_with_its_traceback() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    writer = configure(LogSettings(format="json"), stream)
    try:
        raise ValueError("\ud800")
    except ValueError:
        structlog.get_logger("test").exception("raised")
    assert writer.drain(10)
    stream.seek(0)
    assert "in test_an_exception" in json.loads(stream.read())["exception"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_log_that_takes_nothing_stops_nobody(form: Literal["json", "console"]) -> None:
    writer = configure(LogSettings(format=form), Pipe())
    structlog.get_logger("test").error("unheard")
    logging.getLogger("library").error("%d", "not a number")
    assert writer.drain(10)
    assert writer.dropped == 2


@pytest.mark.parametrize(("level", "lines"), [("info", 0), ("debug", 1)])
def test_what_an_asker_of_a_thread_is_told_is_not_logged_with_a_traceback(
    level: Literal["info", "debug"], lines: int
) -> None:
    """While a store is away, each retry is answered like this."""
    stream = io.StringIO()
    writer = configure(LogSettings(format="json", level=level), stream)

    class Store(pykka.ThreadingActor):
        def on_receive(self, message: object) -> None:
            raise ConnectionError("away")

    store = Store.start()
    with pytest.raises(ConnectionError):
        store.ask("save")
    store.stop()
    assert writer.drain(10)
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len([line for line in told if "exception" in line]) == lines
