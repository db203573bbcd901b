"""Rooms that are in the stores before a run begins, so that recoveries have something to read."""

from __future__ import annotations

import msgspec
import psycopg

from actors.chat.rules.room_log import Posted
from persistence import PostgresSettings
from persistence.postgres import migrate

MESSAGES = 20
"""The number of messages in each room."""


def name(number: int) -> str:
    """The name of a known room, by its number."""
    return f"known-{number}"


def write_rooms(postgres_url: str, rooms: int) -> None:
    """Make the tables, and write so many rooms with their messages. Blocks."""
    migrate(PostgresSettings(url=postgres_url))
    encode = msgspec.msgpack.Encoder().encode
    with psycopg.connect(postgres_url) as connection:
        with connection.cursor().copy(
            "COPY greenroom.events (kind, key, seq, epoch, type, payload, at_us) FROM STDIN"
        ) as copy:
            for number in range(rooms):
                for seq in range(1, MESSAGES + 1):
                    said = Posted("guest-old", "old", f"old-{number}-{seq}", 0)
                    row = ("room", name(number), seq, 1, "room.posted", encode(said), 0)
                    copy.write_row(row)
        connection.execute(
            "INSERT INTO greenroom.incarnations (kind, key, epoch)"
            " SELECT DISTINCT kind, key, 1::bigint FROM greenroom.events"
        )
