"""What the page for operators says about backing up a PostgreSQL that they run themselves."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import msgspec

from persistence import PostgresSettings
from persistence.embedded.binaries import postgres_bin
from persistence.log import LogPosition, LogReader
from persistence.postgres import migrate
from persistence.postgres.connection import connect
from tests.pages import page


def typed(start: str, url: str, schema: str, folder: Path) -> None:
    """Run the page's command with this beginning, on this schema."""
    commands = page("actors/node/README.md").commands
    (line,) = [line for line in commands if line.startswith(start)]
    line = line.replace("$GREENROOM_POSTGRES__URL", url)
    command = [word.replace("schema=greenroom", f"schema={schema}") for word in shlex.split(line)]
    command = [word.replace("greenroom.events", f"{schema}.events") for word in command]
    subprocess.run(
        [postgres_bin() / command[0], *command[1:]], cwd=folder, check=True, env=dict(os.environ)
    )


def test_a_dump_of_the_schema_brings_everything_back(
    postgres: PostgresSettings, unique: str, tmp_path: Path
) -> None:
    settings = msgspec.structs.replace(postgres, schema=unique)
    migrate(settings)
    with connect(settings) as connection, connection.transaction():
        connection.execute(
            f"INSERT INTO {unique}.events (kind, key, seq, epoch, type, payload, at_us)"
            " VALUES ('room', 'lobby', 1, 1, 'Said', 'hi', 7)"
        )
    before = LogReader(settings)
    events = before.read().events
    assert [event[:3] for event in events] == [("room", "lobby", 1)]
    before.close()

    typed("pg_dump", settings.url, unique, tmp_path)
    with connect(settings) as connection, connection.transaction():
        connection.execute(f"DROP SCHEMA {unique} CASCADE")
    typed("pg_restore", settings.url, unique, tmp_path)
    # In another cluster the numbers of this one's transactions could be those of the future.
    with connect(settings) as connection, connection.transaction():
        connection.execute(f"UPDATE {unique}.events SET transaction = '9000000000'")
    after = LogReader(settings)
    assert after.read().events == []
    typed("psql", settings.url, unique, tmp_path)
    assert after.read(LogPosition()).events == events
    after.close()
    assert migrate(settings).applied == []
