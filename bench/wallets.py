"""Wallets and transfers between them: a service for measuring and testing commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from persistence import PostgresSettings
from persistence.commands import CommandKind, Int8Array, TextArray, Transaction
from persistence.postgres.connection import connect, transaction

TABLES = """
    CREATE TABLE wallets (
        owner text COLLATE "C" PRIMARY KEY,
        balance bigint NOT NULL CHECK (balance >= 0)
    ) WITH (fillfactor = 70); -- room for a row's next version beside it
    CREATE TABLE entries (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        owner text NOT NULL, amount bigint NOT NULL, note text NOT NULL
    );

    -- Transfers in the order given. `sources` and `targets` are places in `owners`.
    -- Returns what each source has left; NULL: it had not enough, and nothing was moved.
    CREATE FUNCTION transfer_all(
        owners text[], sources bigint[], targets bigint[], amounts bigint[], notes text[]
    ) RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    AS $$
    DECLARE
        balances bigint[];
        left_over bigint[] := array_fill(NULL::bigint, ARRAY[cardinality(sources)]);
        had bigint;
    BEGIN
        LOOP
            SELECT array_agg(balance) INTO balances FROM (
                SELECT balance FROM wallets WHERE owner = ANY (owners) ORDER BY owner FOR UPDATE
            ) AS held;
            EXIT WHEN cardinality(balances) = cardinality(owners);
            -- A row that is not there cannot be locked.
            INSERT INTO wallets (owner, balance) SELECT owner, 0 FROM unnest(owners) AS owner
            ORDER BY owner ON CONFLICT DO NOTHING;
        END LOOP;
        FOR n IN 1 .. cardinality(sources) LOOP
            had := balances[sources[n]];
            IF had >= amounts[n] AND sources[n] <> targets[n] THEN
                left_over[n] := had - amounts[n];
                balances[sources[n]] := left_over[n];
                balances[targets[n]] := balances[targets[n]] + amounts[n];
            END IF;
        END LOOP;
        UPDATE wallets AS w SET balance = n.balance
        FROM unnest(owners, balances) AS n (owner, balance)
        WHERE w.owner = n.owner AND w.balance <> n.balance;
        INSERT INTO entries (owner, amount, note)
        SELECT owners[leg.place], leg.amount, n.note
        FROM unnest(sources, targets, amounts, notes, left_over)
            AS n (source, target, amount, note, left_over)
        CROSS JOIN LATERAL (VALUES (source, -n.amount), (target, n.amount)) AS leg (place, amount)
        WHERE n.left_over IS NOT NULL;
        RETURN left_over;
    END $$;
"""
_HOLD = "SELECT owner, balance FROM wallets WHERE owner IN (%s, %s) ORDER BY owner FOR UPDATE"
_MOVE = """
    WITH taken AS (
        UPDATE wallets SET balance = balance - %(amount)s WHERE owner = %(source)s
    ), noted AS (
        INSERT INTO entries (owner, amount, note)
        VALUES (%(source)s, -%(amount)s, %(note)s), (%(target)s, %(amount)s, %(note)s)
    )
    INSERT INTO wallets AS w (owner, balance) VALUES (%(target)s, %(amount)s)
    ON CONFLICT (owner) DO UPDATE SET balance = w.balance + excluded.balance
"""


class TransferRefused(Exception):  # noqa: N818
    """The service's refusal of a transfer."""


class Transfer(msgspec.Struct, frozen=True):
    """Move an amount to another wallet, which may be new, if the source has as much."""

    source: str
    target: str
    amount: Annotated[int, msgspec.Meta(ge=1)]
    note: str = ""


class TransferAll(Transfer, frozen=True):
    """The same command with `run_all`, which runs many at once."""


class Remaining(msgspec.Struct, frozen=True):
    """What the source still has."""

    balance: int


def _transfer(tx: Transaction, command: Transfer) -> Remaining:
    balances: dict[str, int] = dict(tx.read(_HOLD, (command.source, command.target)).fetchall())
    left = balances.get(command.source, 0) - command.amount
    if left < 0 or command.source == command.target:
        raise _refusal(command)
    tx.write(_MOVE, msgspec.structs.asdict(command))
    return Remaining(left)


def _transfer_all(
    tx: Transaction, commands: Sequence[TransferAll]
) -> Sequence[Remaining | TransferRefused]:
    owners = sorted({owner for command in commands for owner in (command.source, command.target)})
    places = {owner: place for place, owner in enumerate(owners, 1)}
    arrays = (
        TextArray(owners),
        Int8Array([places[command.source] for command in commands]),
        Int8Array([places[command.target] for command in commands]),
        Int8Array([command.amount for command in commands]),
        TextArray([command.note for command in commands]),
    )
    (left_over,) = tx.write("SELECT transfer_all(%b, %b, %b, %b, %b)", arrays).fetchone() or ((),)
    return [
        _refusal(command) if left is None else Remaining(left)
        for command, left in zip(commands, left_over, strict=True)
    ]


def _refusal(command: Transfer) -> TransferRefused:
    return TransferRefused("to oneself" if command.source == command.target else "not that much")


def _wallets(command: Transfer) -> Sequence[str]:
    return (f"wallet:{command.source}", f"wallet:{command.target}")


KINDS = (
    CommandKind(
        service="wallet", name="transfer", command=Transfer, answer=Remaining, run=_transfer,
        locks=_wallets,
    ),
    CommandKind(
        service="wallet", name="transfer_all", command=TransferAll, answer=Remaining,
        run_all=_transfer_all, locks=_wallets,
    ),
)  # fmt: skip


def open_wallets(settings: PostgresSettings, owners: Sequence[str], balance: int) -> None:
    """Make the tables in the server's schema, and a wallet with `balance` for each owner."""
    with connect(settings) as connection, transaction(connection, settings):
        connection.execute(TABLES)
        connection.execute(
            "INSERT INTO wallets SELECT owner, %s FROM unnest(%s::text[]) AS owner",
            (balance, list(owners)),
        )
