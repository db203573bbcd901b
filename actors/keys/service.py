"""The service of API keys: back ends show one to call the HTTP API."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from actors.keys.desk import KeyDesk
from actors.keys.gatekeeper import Gatekeeper
from actors.keys.rows import COMMANDS, QUERIES, SERVICE
from actors.service import Frame, Running, Service
from protocol.http.metrics import Reading, counter
from protocol.messages.op import Area


def start(frame: Frame) -> Running:
    """Start the service. It has no actors and no ops of the wire."""
    gatekeeper = Gatekeeper(frame.facts, frame.system.now)
    desk = KeyDesk(frame.facts, gatekeeper)
    return Running(
        routes={},
        api=desk.routes(),
        authenticate=gatekeeper.authenticate,
        tools={"create": desk.create_line, "list": desk.list_lines, "revoke": desk.revoke_line},
        readings=partial(readings, gatekeeper),
    )


def readings(gatekeeper: Gatekeeper) -> Iterator[Reading]:
    """Yield the metrics of API keys."""
    for what, count in gatekeeper.checked.items():
        yield counter("keys_checked", "API keys shown, by what became of it.", count, what=what)


KEYS: Final = Service(
    name=SERVICE,
    area=Area(ops=()),
    sections={},
    kinds={},
    start=start,
    commands=lambda _: COMMANDS,
    queries=lambda _: QUERIES,
)
