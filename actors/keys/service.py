"""The service of API keys: back ends show one to call the HTTP API."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from actors.keys.desk import KeyDesk
from actors.keys.gatekeeper import Gatekeeper
from actors.keys.rows import COMMANDS, QUERIES, SERVICE
from actors.keys.shared_rate import SharedRates
from actors.keys.tools import key_tools
from actors.service import Frame, Running, Service
from protocol.http.metrics import Reading, counter
from protocol.messages.op import Area


def start(frame: Frame) -> Running:
    """Start the service. It has no actors and no ops."""
    system = frame.system
    rates = SharedRates(frame.counters, system.nursery.start_soon, system.now)
    gatekeeper = Gatekeeper(frame.facts, rates, system.now)
    desk = KeyDesk(frame.facts, gatekeeper, frame.scopes)
    return Running(
        routes={},
        api=desk.routes(),
        authenticate=gatekeeper.authenticate,
        readings=partial(readings, gatekeeper, rates),
    )


def readings(gatekeeper: Gatekeeper, rates: SharedRates) -> Iterator[Reading]:
    """Yield the metrics of API keys."""
    for what, count in gatekeeper.checked.items():
        yield counter("keys_checked", "API keys shown, by what became of it.", count, what=what)
    text = "Requests of keys that were beyond their rate over all nodes."
    yield counter("keys_over_rate", text, rates.refused)


KEYS: Final = Service(
    name=SERVICE,
    area=Area(ops=()),
    sections={},
    kinds={},
    start=start,
    commands=lambda _: COMMANDS,
    queries=lambda _: QUERIES,
    tools=key_tools,
    scopes=("keys.list", "keys.create", "keys.revoke"),
)
