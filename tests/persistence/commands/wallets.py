"""Wallets, between which the tests of commands move money. Their sum must never change."""

from __future__ import annotations

import contextlib
import secrets
from typing import Any

import msgspec
import psycopg

from bench.wallets import KINDS, Remaining, Transfer, TransferRefused
from persistence import PostgresSettings
from persistence.commands import CommandKind, CommandTable, Transaction
from persistence.postgres.connection import connect, transaction


class Careless(Transfer, frozen=True):
    """A transfer that checks last, and locks in any order."""


class Fail(msgspec.Struct, frozen=True):
    """A command that writes, and then fails."""

    owner: str


class Turned(msgspec.Struct, frozen=True):
    """A command that runs a statement which PostgreSQL refuses."""

    owner: str
    reason: str


class Drain(msgspec.Struct, frozen=True):
    """Empty the wallets that hold less than this. The answer is how many there were."""

    below: int


class Tell(msgspec.Struct, frozen=True):
    user: str
    text: str
    fail: bool = False


def _move(tx: Transaction, owner: str, amount: int, note: str) -> None:
    tx.write("UPDATE wallets SET balance = balance + %s WHERE owner = %s", (amount, owner))
    tx.write("INSERT INTO entries (owner, amount, note) VALUES (%s, %s, %s)", (owner, amount, note))


def _careless(tx: Transaction, command: Careless) -> Remaining:
    _move(tx, command.target, command.amount, command.note)
    found = tx.read("SELECT balance FROM wallets WHERE owner = %s FOR UPDATE", (command.source,))
    row = found.fetchone()
    assert row is not None
    if row[0] < command.amount:
        raise TransferRefused("not that much")
    _move(tx, command.source, -command.amount, command.note)
    return Remaining(row[0] - command.amount)


def _fail(tx: Transaction, command: Fail) -> None:
    tx.write("UPDATE wallets SET balance = 7 WHERE owner = %s", (command.owner,))
    raise ZeroDivisionError("a mistake")


def _turned(tx: Transaction, command: Turned) -> None:
    insert = "INSERT INTO wallets (owner, balance) VALUES (%s, 7)"
    if command.reason == "long":
        tx.write(insert, (secrets.token_hex(4000),))
    if command.reason == "late":
        tx.write("UPDATE wallets SET balance = -1 WHERE owner = %s", (command.owner,))
        return
    with contextlib.suppress(psycopg.errors.UniqueViolation):
        tx.write(insert, (command.owner,))


def _drain(tx: Transaction, command: Drain) -> Remaining:
    emptied = tx.write("UPDATE wallets SET balance = 0 WHERE balance < %s", (command.below,))
    looked = tx.write("UPDATE wallets SET balance = balance WHERE balance < %s", (command.below,))
    assert (
        looked.rowcount
        == emptied.rowcount
        == len(list(tx.read("SELECT FROM wallets WHERE balance = 0")))
    )
    return Remaining(emptied.rowcount)


def _tell(tx: Transaction, command: Tell) -> None:
    tx.emit("told", command.user, "told", command.text.encode())
    tx.push(command.user, "told", command.text.encode())
    if command.fail:
        raise TransferRefused("told nobody")


def table() -> CommandTable:
    def kind(name: str, command: type[msgspec.Struct], **given: Any) -> CommandKind:
        return CommandKind(service="wallet", name=name, command=command, **given)

    return CommandTable(
        [
            *KINDS,
            kind("careless", Careless, answer=Remaining, run=_careless),
            kind("fail", Fail, run=_fail),
            kind("turned", Turned, run=_turned),
            kind("drain", Drain, answer=Remaining, run=_drain),
            kind("tell", Tell, run=_tell),
        ],
        refusals=(TransferRefused,),
    )


def balances(settings: PostgresSettings) -> dict[str, int]:
    with connect(settings) as connection, transaction(connection, settings):
        return dict(connection.execute("SELECT owner, balance FROM wallets").fetchall())


def notes(settings: PostgresSettings) -> list[str]:
    """Return the notes of all transfers that were made, with repeats."""
    with connect(settings) as connection, transaction(connection, settings):
        rows = connection.execute("SELECT note FROM entries WHERE amount < 0 ORDER BY id")
        return [note for (note,) in rows]
