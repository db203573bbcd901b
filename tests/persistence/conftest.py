from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pykka import ActorRef

from persistence import PostgresSettings, RedisSettings
from persistence.postgres import EventReader, EventWriter
from persistence.redis import SnapshotWorker

Ref = ActorRef[Any]


@pytest.fixture
def writer(postgres: PostgresSettings) -> Iterator[Ref]:
    ref = EventWriter.start(postgres)
    yield ref
    ref.stop()


@pytest.fixture
def reader(postgres: PostgresSettings) -> Iterator[Ref]:
    ref = EventReader.start(postgres)
    yield ref
    ref.stop()


@pytest.fixture
def worker(redis: RedisSettings) -> Iterator[Ref]:
    ref = SnapshotWorker.start(redis)
    yield ref
    ref.stop()
