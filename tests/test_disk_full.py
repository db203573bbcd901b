"""A server whose PostgreSQL answers every query but cannot store events."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import psycopg
import trio

from actors.node.exits import Exit
from persistence import PostgresSettings
from persistence.postgres import migrate
from protocol.client import connect
from tests.server_process import PATIENT, Server

FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON events EXECUTE FUNCTION full_disk()
"""


async def test_a_server_that_can_store_nothing_is_not_ready_and_says_why(
    postgres: PostgresSettings, unique: str, tmp_path: Path
) -> None:
    migrate(msgspec.structs.replace(postgres, schema=unique))
    settings = (
        f"postgres.url={postgres.url}",
        f"postgres.schema={unique}",
        "journal.failing_after_s=0.2",
    )
    with psycopg.connect(postgres.url, autocommit=True) as database:
        database.execute(f"SET search_path TO {unique}")
        with Server(tmp_path, *settings) as server:

            async def readiness() -> tuple[int, str]:
                status, body = await trio.to_thread.run_sync(server.get, "/readyz")
                return status, str(json.loads(body)["checks"]["postgresql"])

            async def until(word: str) -> None:
                while word not in (await readiness())[1]:
                    await trio.sleep(0.05)

            with trio.fail_after(60):
                async with connect(server.ws, name="ada", settings=PATIENT) as session:
                    room = await session.join(unique)
                    await room.send("before")
                    assert await readiness() == (200, "ok")
                    database.execute(FULL)
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(room.send, "meanwhile")
                        await until("nothing stored for")
                        # And so it stays, also between two attempts, when questions are answered.
                        for _ in range(20):
                            status, said = await readiness()
                            assert status == 503, said
                            assert "No space left on device" in said
                        database.execute("DROP TRIGGER full_disk ON events")
                    await until("ok")
            assert server.stop() == Exit.OK
