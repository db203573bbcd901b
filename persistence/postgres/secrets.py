"""Secrets that all nodes share."""

from __future__ import annotations

import secrets

import psycopg

from persistence.postgres.connection import connect, transaction, unavailable
from persistence.settings import PostgresSettings

SECRET_BYTES = 32


def get_or_create_secret(settings: PostgresSettings, name: str) -> bytes:
    """Return the 32 random bytes kept under `name`; the first caller makes them. It blocks.

    Raises `StoreUnavailable`.
    """
    try:
        with connect(settings) as connection, transaction(connection, settings):
            connection.execute(
                "INSERT INTO secrets (name, value) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (name, secrets.token_bytes(SECRET_BYTES)),
            )
            row = connection.execute(
                "SELECT value FROM secrets WHERE name = %s", (name,)
            ).fetchone()
    except psycopg.Error as error:
        raise unavailable(error) from None
    assert row is not None, "nothing deletes secrets"
    return bytes(row[0])
