"""Which signals stop a process."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from actors.node.stopping import SIGNALS, Signals


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_terminal_that_is_closed_stops_it() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signals = Signals()
    signal.raise_signal(signal.SIGHUP)
    with pytest.raises(KeyboardInterrupt):
        signals.check()


def test_under_nohup_it_does_not() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signals = Signals()
    signal.raise_signal(signal.SIGHUP)
    signals.check()
