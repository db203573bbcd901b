"""The service of storage: players' objects, which they write, and which they and others read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from actors.edge.routes import AskService
from actors.service import Frame, Running, Service
from actors.storage.commands import COMMANDS, SERVICE
from actors.storage.desk import Desk
from actors.storage.queries import QUERIES
from actors.storage.settings import StorageSettings
from protocol.http.metrics import Reading, counter, gauge
from protocol.messages import storage
from protocol.messages.storage import StorageDelete, StorageList, StorageRead, StorageWrite


def start(frame: Frame) -> Running:
    """Start the service. It has no actors, since objects are rows."""
    desk = Desk(frame.settings.section("storage", StorageSettings), frame.facts)
    return Running(
        routes={
            StorageWrite: AskService(desk.write, outlives=True),
            StorageRead: AskService(desk.read),
            StorageDelete: AskService(desk.delete, outlives=True),
            StorageList: AskService(desk.page),
        },
        readings=partial(readings, desk),
        export=desk.export,
        erase=desk.erase,
    )


def readings(desk: Desk) -> Iterator[Reading]:
    """Yield the metrics of storage."""
    for what, count in desk.objects.items():
        yield counter("storage_objects", "Objects, by what was done.", count, what=what)
    for code, count in desk.refused.items():
        yield counter("storage_refused", "Changes refused, by why.", count, code=code)
    text = "Values that wait for their commit."
    yield gauge("storage_waiting_bytes", text, desk.waiting_bytes)


STORAGE: Final = Service(
    name=SERVICE,
    area=storage.AREA,
    sections={"storage": StorageSettings},
    kinds={},
    start=start,
    commands=lambda _: COMMANDS,
    queries=lambda _: QUERIES,
)
