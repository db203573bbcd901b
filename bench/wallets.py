"""Wallets and transfers between them: what commands are measured and tested with."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from persistence import PostgresSettings
from persistence.commands import CommandKind, Transaction
from persistence.postgres.connection import connect, transaction

TABLES = """
    CREATE TABLE wallets (owner text PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0));
    CREATE TABLE entries (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        owner text NOT NULL, amount bigint NOT NULL, note text NOT NULL
    );
    CREATE FUNCTION transfer_all(sources text[], targets text[], amounts bigint[], notes text[])
    RETURNS TABLE (place bigint, left_over bigint)
    LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
    DECLARE n int; had bigint;
    BEGIN
        PERFORM 1 FROM wallets WHERE owner = ANY(sources || targets) ORDER BY owner FOR UPDATE;
        FOR n IN 1 .. cardinality(sources) LOOP
            SELECT balance INTO had FROM wallets WHERE owner = sources[n];
            place := n;
            left_over := NULL;
            IF had >= amounts[n] THEN
                UPDATE wallets SET balance = balance - amounts[n] WHERE owner = sources[n];
                UPDATE wallets SET balance = balance + amounts[n] WHERE owner = targets[n];
                INSERT INTO entries (owner, amount, note)
                VALUES (sources[n], -amounts[n], notes[n]), (targets[n], amounts[n], notes[n]);
                left_over := had - amounts[n];
            END IF;
            RETURN NEXT;
        END LOOP;
    END $$;
"""


class Refused(Exception):  # noqa: N818
    """As a service says no."""


class Transfer(msgspec.Struct, frozen=True):
    """Move an amount, if the source has it."""

    source: str
    target: str
    amount: int
    note: str = ""


class TransferAll(Transfer, frozen=True):
    """The same in the form for hot paths."""


class Left(msgspec.Struct, frozen=True):
    """What the source still has."""

    balance: int


def _transfer(tx: Transaction, command: Transfer) -> Left:
    rows = tx.read(
        "SELECT owner, balance FROM wallets WHERE owner IN (%s, %s) ORDER BY owner FOR UPDATE",
        (command.source, command.target),
    )
    balances: dict[str, int] = dict(rows.fetchall())
    if balances[command.source] < command.amount:
        raise Refused("not that much")
    move(tx, command.source, -command.amount, command.note)
    move(tx, command.target, command.amount, command.note)
    return Left(balances[command.source] - command.amount)


def move(tx: Transaction, owner: str, amount: int, note: str) -> None:
    """Change a balance and say so in the entries."""
    tx.write("UPDATE wallets SET balance = balance + %s WHERE owner = %s", (amount, owner))
    tx.write("INSERT INTO entries (owner, amount, note) VALUES (%s, %s, %s)", (owner, amount, note))


def _transfer_all(tx: Transaction, commands: Sequence[TransferAll]) -> Sequence[Left | Refused]:
    columns = zip(*((c.source, c.target, c.amount, c.note) for c in commands), strict=True)
    rows = tx.write(
        "SELECT left_over FROM transfer_all(%s, %s, %s::bigint[], %s) ORDER BY place",
        [list(column) for column in columns],
    )
    return [Refused("not that much") if left is None else Left(left) for (left,) in rows]


def _wallets(command: Transfer) -> Sequence[str]:
    return (f"wallet:{command.source}", f"wallet:{command.target}")


KINDS = (
    CommandKind(
        service="wallet", name="transfer", command=Transfer, answer=Left, run=_transfer,
        locks=_wallets,
    ),
    CommandKind(
        service="wallet", name="transfer_all", command=TransferAll, answer=Left,
        run_all=_transfer_all, locks=_wallets,
    ),
)  # fmt: skip


def open_wallets(settings: PostgresSettings, owners: Sequence[str], balance: int) -> None:
    """Make the tables in the server's schema, and a wallet for each."""
    with connect(settings) as connection, transaction(connection, settings):
        connection.execute(TABLES)
        connection.execute(
            "INSERT INTO wallets SELECT owner, %s FROM unnest(%s::text[]) AS owner",
            (balance, list(owners)),
        )
