"""The service of webhooks: back ends are told of events by signed POSTs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Final

from actors.runtime.child import ChildSpec
from actors.service import Frame, Running, Service
from actors.webhooks.desk import WebhookDesk
from actors.webhooks.rows import COMMANDS, QUERIES, SERVICE
from actors.webhooks.sender import SENDER, WebhookSender
from actors.webhooks.settings import WebhookSettings
from protocol.http.destinations import parsed_networks
from protocol.http.metrics import Reading, counter
from protocol.http.posting import Poster
from protocol.messages.op import Area


def start(frame: Frame) -> Running:
    """Start the sender."""
    settings = frame.settings.section(SERVICE, WebhookSettings)
    poster = Poster(parsed_networks(settings.networks), timeout_s=settings.timeout_s)
    tries = Counter(taken=0, failed=0, dead=0)
    desk = WebhookDesk(frame.facts, settings, frame.announced)
    spawn = frame.system.nursery.start_soon
    make = partial(WebhookSender, frame.facts, poster, settings, tries, spawn)
    frame.system.supervise([ChildSpec(id="0", factory=make)], key=SENDER)
    return Running(routes={}, api=desk.routes(), readings=partial(readings, tries))


def readings(tries: Counter[str]) -> Iterator[Reading]:
    """Yield the metrics of webhooks."""
    for how, count in tries.items():
        text = "Events sent to webhooks, by what became of the try; dead: it was the last one."
        yield counter("webhooks_tries", text, count, how=how)


WEBHOOKS: Final = Service(
    name=SERVICE,
    area=Area(ops=()),
    sections={SERVICE: WebhookSettings},
    kinds={},
    start=start,
    scopes=("webhooks.list", "webhooks.create", "webhooks.delete", "webhooks.resume"),
    commands=lambda _: COMMANDS,
    queries=lambda _: QUERIES,
)
