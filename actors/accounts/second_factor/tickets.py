"""Sign-ins that wait for the second factor."""

from __future__ import annotations

from persistence.commands import Transaction


def has_second_factor(tx: Transaction, user: str) -> bool:
    """Return whether an account asks for a second factor."""
    row = tx.read(
        "SELECT 1 FROM account_second_factors WHERE user_id = %s AND confirmed", (user,)
    ).fetchone()
    return row is not None


def put_ticket(tx: Transaction, user: str, ticket: bytes, label: str) -> None:
    """Keep a sign-in that waits. Those that are older than a day are deleted.

    Arguments:
        tx: the transaction.
        user: whose.
        ticket: the hash of the ticket.
        label: what its device is called.
    """
    tx.write("DELETE FROM account_tickets WHERE created_at < now() - interval '1 day'")
    tx.write("INSERT INTO account_tickets VALUES (%s, %s, %s, 0, now())", (ticket, user, label))
